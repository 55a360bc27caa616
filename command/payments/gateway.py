"""The port to the card gateway: what it is asked, what it may answer, and what it means when it does not.

A refusal is an answer and comes back as a value. No answer is an error: the step is tried again with the same key,
and the gateway, which knows the key and the payment, does nothing twice.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Charge:
    """So much of a card; without ``card_token`` of the card on file. ``amount`` in minor units."""

    payment_id: str
    amount: int
    currency: str
    card_token: str | None


@dataclass(frozen=True, slots=True)
class Refund:
    """All that was charged, back."""

    payment_id: str
    charge_id: str
    amount: int


@dataclass(frozen=True, slots=True)
class Cause:
    """The event that a question comes from: its id is the key under which the gateway answers once and for all."""

    key: str
    traceparent: str | None


@dataclass(frozen=True, slots=True)
class Charged:
    """The gateway has the money."""

    charge_id: str


@dataclass(frozen=True, slots=True)
class Declined:
    """The gateway does not take this payment, now or later."""

    code: str
    reason: str


class GatewayError(Exception):
    """There is no answer that could be relied on. What became of the question is not known."""


class GatewayUnavailable(GatewayError):
    """The gateway does not answer, or not in time, or says that it cannot now."""


class GatewayNotReached(GatewayUnavailable):
    """The question has certainly not got there: no connection was made, or the circuit breaker is open."""


class UnexpectedAnswer(GatewayError):
    """The gateway works, and answers this question as it never should: somebody has to look."""


class Gateway:
    """A card gateway. Each call may raise `GatewayError`, and may then be made again under the same key."""

    async def charge(self, charge: Charge, cause: Cause) -> Charged | Declined:
        """Take the money: once per payment, whatever the key."""
        raise NotImplementedError

    async def refund(self, refund: Refund, cause: Cause) -> None:
        """Send it back: once per charge, whatever the key; also done where the charge was voided before."""
        raise NotImplementedError

    async def void(self, payment_id: str, cause: Cause) -> None:
        """Undo a charge of this payment if there is one, and refuse any that comes later."""
        raise NotImplementedError
