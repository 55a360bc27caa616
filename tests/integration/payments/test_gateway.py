"""The adapter over HTTP: what it sends, what it makes of every answer and of none, and when it does not ask at all."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from fastapi import FastAPI, Request
from starlette.responses import Response
from structlog.testing import capture_logs

from command.payments.gateway import (
    Cause,
    Charge,
    Charged,
    Declined,
    Gateway,
    GatewayError,
    GatewayNotReached,
    GatewayUnavailable,
    Refund,
    UnexpectedAnswer,
)
from command.payments.http_gateway import FAILURES_TO_OPEN, HttpGateway, make_client
from command.payments.ports import ports
from runtime.http import JsonResponse
from runtime.settings import Settings
from runtime.streams import ABORT
from tests.integration.serving import served

CHARGE = Charge("pay-1", 150, "EUR", "tok_visa")
CAUSE = Cause("event-1", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
CAPTURED = {"charge_id": "ch-1", "status": "captured"}
OPEN_SECONDS = 0.3


@dataclass
class Scripted:
    """A gateway that answers what a test wants."""

    answer: Callable[[Request], Awaitable[Response]]
    asked: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)

    def app(self) -> FastAPI:
        app = FastAPI()

        @app.post("/{path}")
        async def anything(request: Request) -> Response:
            self.asked.append((request.url.path, dict(request.headers), await request.json()))
            return await self.answer(request)

        return app

    def answers(self, status: int, body: Any = None) -> None:
        """From here on, to everything."""

        async def answer(_: Request) -> Response:
            return JsonResponse(body, status)

        self.answer = answer


@asynccontextmanager
async def a_gateway(timeout_seconds: float = 5.0) -> AsyncIterator[tuple[HttpGateway, Scripted]]:
    """The adapter, and what is behind it."""
    scripted = Scripted(answer=_nothing)
    scripted.answers(200, CAPTURED)
    async with served(scripted.app()) as server, make_client(server.url, timeout_seconds=timeout_seconds) as client:
        yield HttpGateway(client, timeout_seconds=timeout_seconds, open_seconds=OPEN_SECONDS), scripted


async def _nothing(_: Request) -> Response:
    raise AssertionError


async def test_it_asks_with_the_event_as_key_and_the_trace_passed_on() -> None:
    async with a_gateway() as (gateway, scripted):
        assert await gateway.charge(CHARGE, CAUSE) == Charged("ch-1")
        await gateway.refund(Refund("pay-1", "ch-1", 150), CAUSE)
        await gateway.void("pay-1", Cause("event-2", None))

    assert [(path, body) for path, _, body in scripted.asked] == [
        ("/charges", {"payment_id": "pay-1", "amount": 150, "currency": "EUR", "card_token": "tok_visa"}),
        ("/refunds", {"payment_id": "pay-1", "charge_id": "ch-1", "amount": 150}),
        ("/voids", {"payment_id": "pay-1"}),
    ]
    told = [(headers["idempotency-key"], headers.get("traceparent")) for _, headers, _ in scripted.asked]
    assert told == [("event-1", CAUSE.traceparent), ("event-1", CAUSE.traceparent), ("event-2", None)]


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (402, {"code": "no-funds", "reason": "Not enough."}, Declined("no-funds", "Not enough.")),
        (409, {}, Declined("payment-voided", "The payment was voided.")),
    ],
)
async def test_a_refusal_is_an_answer(status: int, body: Any, outcome: Declined) -> None:
    async with a_gateway() as (gateway, scripted):
        scripted.answers(status, body)
        assert await gateway.charge(CHARGE, CAUSE) == outcome


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (200, {}, UnexpectedAnswer),
        (200, {"charge_id": "ch-1", "status": "pending"}, UnexpectedAnswer),
        (402, {"code": "no-funds"}, UnexpectedAnswer),
        (302, {}, UnexpectedAnswer),
        (401, {}, UnexpectedAnswer),
        (422, {}, UnexpectedAnswer),
        (429, {}, GatewayUnavailable),
        (500, {}, GatewayUnavailable),
        (503, {}, GatewayUnavailable),
    ],
)
async def test_every_other_answer_is_an_error_and_may_have_been_a_charge(
    status: int, body: Any, error: type[GatewayError]
) -> None:
    async with a_gateway() as (gateway, scripted):
        scripted.answers(status, body)
        with pytest.raises(GatewayError) as raised:
            await gateway.charge(CHARGE, CAUSE)
    assert type(raised.value) is error


async def test_where_nobody_listens_it_is_certain_that_nothing_was_asked() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        async with make_client(url, timeout_seconds=1) as client:
            with pytest.raises(GatewayNotReached):
                await HttpGateway(client, timeout_seconds=1).charge(CHARGE, CAUSE)


async def test_a_connection_that_breaks_leaves_it_uncertain() -> None:
    async def cut(request: Request) -> Response:
        request.scope["extensions"][ABORT]["call"]()
        return Response()

    async with a_gateway() as (gateway, scripted):
        scripted.answer = cut
        with pytest.raises(GatewayUnavailable) as raised:
            await gateway.charge(CHARGE, CAUSE)
    assert not isinstance(raised.value, GatewayNotReached)


async def test_an_answer_is_waited_for_as_long_as_the_setting_says_also_one_that_comes_byte_by_byte() -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            await reader.readuntil(b"}")
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
            while not writer.is_closing():
                writer.write(b" ")
                await asyncio.sleep(0.02)

    async with await asyncio.start_server(drip, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with make_client(url, timeout_seconds=0.3) as client:
            with pytest.raises(GatewayUnavailable) as raised:
                await asyncio.wait_for(HttpGateway(client, timeout_seconds=0.3).charge(CHARGE, CAUSE), 5)
    assert not isinstance(raised.value, GatewayNotReached)


async def test_the_breaker_opens_after_some_failures_and_closes_once_the_gateway_is_back() -> None:
    async with a_gateway() as (gateway, scripted):
        scripted.answers(503)
        for _ in range(FAILURES_TO_OPEN):
            with pytest.raises(GatewayUnavailable):
                await gateway.charge(CHARGE, CAUSE)
        asked = len(scripted.asked)

        for _ in range(3):
            with pytest.raises(GatewayNotReached):
                await gateway.charge(CHARGE, CAUSE)
        assert len(scripted.asked) == asked  # it is left alone

        await asyncio.sleep(OPEN_SECONDS * 1.2)  # what it waits for is time itself
        with pytest.raises(GatewayUnavailable):
            await gateway.charge(CHARGE, CAUSE)
        assert len(scripted.asked) == asked + 1  # one look, and it is open again
        with pytest.raises(GatewayNotReached):
            await gateway.charge(CHARGE, CAUSE)

        scripted.answers(200, CAPTURED)
        await asyncio.sleep(OPEN_SECONDS * 1.2)
        assert [await gateway.charge(CHARGE, CAUSE) for _ in range(3)] == [Charged("ch-1")] * 3


async def test_refunds_that_fail_keep_nobody_from_paying() -> None:
    async with a_gateway() as (gateway, scripted):
        scripted.answers(503)
        for _ in range(FAILURES_TO_OPEN):
            with pytest.raises(GatewayUnavailable):
                await gateway.refund(Refund("pay-1", "ch-1", 150), CAUSE)

        scripted.answers(200, CAPTURED)
        assert await gateway.charge(CHARGE, CAUSE) == Charged("ch-1")


@pytest.mark.parametrize(("status", "body"), [(402, {"code": "c", "reason": "r"}), (409, {}), (422, {})])
async def test_who_answers_is_not_down(status: int, body: Any) -> None:
    async with a_gateway() as (gateway, scripted):
        scripted.answers(status, body)
        for _ in range(2 * FAILURES_TO_OPEN):
            with suppress(UnexpectedAnswer):
                await gateway.charge(CHARGE, CAUSE)
        assert len(scripted.asked) == 2 * FAILURES_TO_OPEN


async def test_a_hundred_questions_at_once_are_all_answered() -> None:
    async with a_gateway() as (gateway, scripted):
        answers = await asyncio.gather(*(gateway.charge(CHARGE, CAUSE) for _ in range(100)))
    assert answers == [Charged("ch-1")] * 100
    assert len(scripted.asked) == 100


async def test_without_a_gateway_payments_are_simulated_in_the_process_and_it_says_so_once(settings: Settings) -> None:
    simulated = settings.model_copy(update={"payment_timeout_seconds": 0.3})
    with capture_logs() as logs:
        async with ports(simulated) as made:
            gateway: Gateway = made[Gateway]
            charged = await gateway.charge(CHARGE, CAUSE)
            assert isinstance(charged, Charged)
            assert await gateway.charge(CHARGE, CAUSE) == charged
            assert isinstance(await gateway.charge(Charge("pay-2", 1, "EUR", "tok_declined"), CAUSE), Declined)
            for token in ("tok_fail", "tok_slow_5", "tok_lost"):
                with pytest.raises(GatewayUnavailable):
                    await gateway.charge(Charge(f"pay {token}", 1, "EUR", token), Cause(token, None))
            await gateway.refund(Refund("pay-1", charged.charge_id, 150), CAUSE)
            await gateway.void("pay-3", CAUSE)
            assert isinstance(await gateway.charge(Charge("pay-3", 1, "EUR", None), Cause("3", None)), Declined)
    assert [entry["log_level"] for entry in logs] == ["warning"]
    assert "no money moves" in logs[0]["event"]


async def test_the_simulation_in_the_process_remembers_after_a_restart(settings: Settings) -> None:
    async with ports(settings) as made:
        first = await made[Gateway].charge(CHARGE, CAUSE)
    async with ports(settings) as made:
        assert await made[Gateway].charge(CHARGE, CAUSE) == first
