"""A card gateway that moves no money: what it does is written in the card token.

=============================  =====================================================================================
``tok_declined…``              declined
``tok_slow``, ``tok_slow_N``   approved, but only after 3 (or N) seconds
``tok_fail``, ``tok_fail_N``   no answer, always (or N times, and then approved)
``tok_lost``                   charged, and the first answer is lost; asked again it answers
``tok_twice``                  approved; asked again it answers the same again, and charges nothing more
``tok_refund_fail``            approved, but no answer to refunds
``tok_refund_fail_N``          the same, N times
anything else, or no token     approved
=============================  =====================================================================================

`simulator` serves it over HTTP; where no gateway is configured, `InProcessGateway` asks it directly.
"""

import asyncio
import math
import re
from dataclasses import dataclass

from command.payments.gateway import Cause, Charge, Charged, Declined, Gateway, GatewayUnavailable, Refund
from command.payments.ledger import Booked, Ledger, Voided

SLOW_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Card:
    """How the simulator treats a card."""

    is_declined: bool = False
    delay_seconds: float = 0.0
    failures: float = 0
    loses_first_answer: bool = False
    refund_failures: float = 0


_NUMBERED = re.compile(r"tok_(slow|fail|refund_fail)(?:_(\d{1,6}))?")


def card_of(token: str | None) -> Card:
    """What is written in a token."""
    token = token or ""
    if token.startswith("tok_declined"):
        return Card(is_declined=True)
    if token == "tok_lost":  # noqa: S105 - a test card's name
        return Card(loses_first_answer=True)
    found = _NUMBERED.fullmatch(token)
    match found and found.groups():
        case ("slow", number):
            return Card(delay_seconds=float(number or SLOW_SECONDS))
        case ("fail", number):
            return Card(failures=float(number or math.inf))
        case ("refund_fail", number):
            return Card(refund_failures=float(number or math.inf))
    return Card()


class NoAnswer(Exception):
    """The card wants it so."""


class AnswerLost(Exception):
    """It was done, and whoever asked is not told."""


class Simulation:
    """The gateway's side: cards that do as their tokens say, and a ledger that books everything once."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def charge(self, charge: Charge, key: str) -> Booked | Declined:
        """Raises `NoAnswer`, `AnswerLost`, and what `Ledger.charge` does."""
        card = card_of(charge.card_token)
        # A slow one books at the end: an answer that is not waited for may come after the payment was voided.
        await asyncio.sleep(card.delay_seconds)
        if card.is_declined:
            return Declined("card-declined", "The card was declined.")
        await self._fail(f"charge {charge.payment_id}", card.failures)
        booked = await asyncio.to_thread(self._ledger.charge, charge, key)
        if booked.is_new and card.loses_first_answer:
            raise AnswerLost
        return booked

    async def refund(self, refund: Refund) -> Booked:
        """Raises `NoAnswer`, and what `Ledger.refund` does."""
        token = await asyncio.to_thread(self._ledger.card_token_of, refund.payment_id)
        await self._fail(f"refund {refund.payment_id}", card_of(token).refund_failures)
        return await asyncio.to_thread(self._ledger.refund, refund)

    async def void(self, payment_id: str) -> Booked | None:
        """Whatever its card: the charge that was undone, if there is one."""
        return await asyncio.to_thread(self._ledger.void, payment_id)

    async def _fail(self, what: str, times: float) -> None:
        if times and await asyncio.to_thread(self._ledger.count, what) <= times:
            raise NoAnswer


class InProcessGateway(Gateway):
    """The simulation, asked directly; for a shop without a gateway."""

    def __init__(self, simulation: Simulation, *, timeout_seconds: float) -> None:
        self._simulation = simulation
        self._timeout_seconds = timeout_seconds

    async def charge(self, charge: Charge, cause: Cause) -> Charged | Declined:
        """As the card says."""
        try:
            async with asyncio.timeout(self._timeout_seconds):
                answer = await self._simulation.charge(charge, cause.key)
        except (NoAnswer, AnswerLost, TimeoutError):
            raise GatewayUnavailable("The simulated card does not answer.") from None
        except Voided:
            return Declined("payment-voided", "The payment was voided.")
        return answer if isinstance(answer, Declined) else Charged(answer.charge_id)

    async def refund(self, refund: Refund, cause: Cause) -> None:  # noqa: ARG002 - the ledger knows the charge
        """As the card says."""
        try:
            await self._simulation.refund(refund)
        except NoAnswer:
            raise GatewayUnavailable("The simulated card does not answer.") from None

    async def void(self, payment_id: str, cause: Cause) -> None:  # noqa: ARG002 - the ledger knows the payment
        """Always done."""
        await self._simulation.void(payment_id)
