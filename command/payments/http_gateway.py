"""The card gateway over HTTP: what it answers as values, what goes wrong as errors, and a circuit breaker in between.

Once it has failed a few times running, a call is not made at all for a while: a gateway that is down is not made
slower to come back, and nobody waits for its silence. Charges, refunds and voids have a breaker each, as gateways fail.
"""

import asyncio
from typing import Literal
from urllib.parse import urlsplit

import httpx
import msgspec
from purgatory import AsyncCircuitBreakerFactory
from purgatory.domain.messages.base import Event
from purgatory.domain.model import OpenedState

from command.payments.gateway import (
    Cause,
    Charge,
    Charged,
    Declined,
    Gateway,
    GatewayNotReached,
    GatewayUnavailable,
    Refund,
    UnexpectedAnswer,
)
from command.payments.metrics import CIRCUIT_OPEN
from runtime import tracing

FAILURES_TO_OPEN = 5
# Less than a reaction's attempts take: a breaker that others have opened does not use up all of an event's.
OPEN_SECONDS = 2.0
_CONNECT_SECONDS = 3.0
# Shorter than servers keep an idle connection (uvicorn: 5 s): one that they close just now would lose an attempt.
_KEEPALIVE_SECONDS = 2.0
_CONNECTIONS = 50

_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


class _Captured(msgspec.Struct):
    charge_id: str
    status: Literal["captured"]


class _Refusal(msgspec.Struct):
    code: str
    reason: str


class HttpGateway(Gateway):
    """A gateway that speaks HTTP as `readside payment-simulator` does."""

    def __init__(
        self, client: httpx.AsyncClient, *, timeout_seconds: float, open_seconds: float = OPEN_SECONDS
    ) -> None:
        self._client = client
        self._timeout_seconds = timeout_seconds
        self._breakers = AsyncCircuitBreakerFactory(
            FAILURES_TO_OPEN,
            open_seconds,
            # Neither tells that the gateway is down: this process ends, or one payment is not as it should be.
            exclude=[asyncio.CancelledError, UnexpectedAnswer],
        )
        self._breakers.add_listener(_note_state)
        for path in ("/charges", "/refunds", "/voids"):
            CIRCUIT_OPEN.labels(path).set(0)

    async def charge(self, charge: Charge, cause: Cause) -> Charged | Declined:
        """200, 402, and 409 for what was voided."""
        body = {
            "payment_id": charge.payment_id,
            "amount": charge.amount,
            "currency": charge.currency,
            "card_token": charge.card_token,
        }
        answer = await self._post("/charges", body, cause, expected=(200, 402, 409))
        if answer.status_code == 409:
            return Declined("payment-voided", "The payment was voided.")
        try:
            if answer.status_code == 200:
                return Charged(msgspec.json.decode(answer.content, type=_Captured).charge_id)
            refusal = msgspec.json.decode(answer.content, type=_Refusal)
        except msgspec.MsgspecError:
            raise UnexpectedAnswer("The card gateway answers what cannot be read.") from None
        return Declined(refusal.code, refusal.reason)

    async def refund(self, refund: Refund, cause: Cause) -> None:
        """200, also where it was done before."""
        body = {"payment_id": refund.payment_id, "charge_id": refund.charge_id, "amount": refund.amount}
        await self._post("/refunds", body, cause, expected=(200,))

    async def void(self, payment_id: str, cause: Cause) -> None:
        """200, also where there is nothing to undo."""
        await self._post("/voids", {"payment_id": payment_id}, cause, expected=(200,))

    async def _post(
        self, path: str, body: dict[str, object], cause: Cause, *, expected: tuple[int, ...]
    ) -> httpx.Response:
        breaker = await self._breakers.get_breaker(path)
        try:
            async with breaker:
                return await self._answered(path, body, cause, expected)
        except OpenedState as is_open:
            # The library raises one and the same object each time, and it would carry every traceback so far.
            is_open.__traceback__ = None
        raise GatewayNotReached("The card gateway does not answer; it is given a rest.")

    async def _answered(
        self, path: str, body: dict[str, object], cause: Cause, expected: tuple[int, ...]
    ) -> httpx.Response:
        try:
            with tracing.inner_span("POST", "client", http__request__method="POST", url__path=path):
                headers = {"Idempotency-Key": cause.key}
                if (traceparent := tracing.traceparent(cause.traceparent)) is not None:
                    headers["traceparent"] = traceparent
                # The client's own limits are per read: an answer that comes byte by byte would have no end.
                async with asyncio.timeout(self._timeout_seconds):
                    answer = await self._client.post(path, json=body, headers=headers)
                tracing.describe(http__response__status_code=answer.status_code)
        except _NEVER_SENT as error:
            raise GatewayNotReached(f"The card gateway cannot be reached ({type(error).__name__}).") from error
        except (httpx.HTTPError, TimeoutError) as error:
            raise GatewayUnavailable(f"The card gateway does not answer ({type(error).__name__}).") from error
        if answer.status_code in expected:
            return answer
        if answer.status_code >= 500 or answer.status_code == 429:
            raise GatewayUnavailable(f"The card gateway cannot answer now ({answer.status_code}).")
        raise UnexpectedAnswer(f"The card gateway answers {answer.status_code} to {path}.")


def _note_state(path: str, what: str, event: Event) -> None:
    if what == "state_changed":
        # Half open is not closed yet: one call is let through, and tells.
        CIRCUIT_OPEN.labels(path).set(0 if getattr(event, "state", None) == "closed" else 1)


def make_client(url: str, *, timeout_seconds: float) -> httpx.AsyncClient:
    """A pooled client of the gateway at this URL; to be closed at the end."""
    return httpx.AsyncClient(
        base_url=url,
        timeout=httpx.Timeout(timeout_seconds, connect=min(timeout_seconds / 2, _CONNECT_SECONDS)),
        limits=httpx.Limits(max_connections=_CONNECTIONS, keepalive_expiry=_KEEPALIVE_SECONDS),
        # A proxy of the environment is for what is outside: not for the simulator of this machine.
        trust_env=urlsplit(url).hostname not in ("127.0.0.1", "::1", "localhost"),
    )
