"""Shipping and data platform: services that answer well, badly, slowly, or not at all, over real HTTP; and files."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from fastapi import FastAPI, Request
from starlette.responses import JSONResponse, Response

from command.background import reactions
from command.data_platform import ports as data_platform_ports
from command.data_platform.reactions import data_platform
from command.outside import FileSink, HttpSink
from command.shipping import ports as shipping_ports
from command.shipping.reactions import shipping_sync
from command.shipping.service import ShippingService
from events.envelope import DomainEvent, Envelope
from events.ordering import OrderPaid, ShippingInfoChanged
from events.reaction import NotNow, Ports, Reaction
from runtime.clock import rfc3339
from runtime.outside_http import OutsideError, outside_client
from runtime.settings import Settings
from tests.builders import SHIPPING_INFO, a_line
from tests.integration.answering import TRACEPARENT, answer, told
from tests.integration.serving import served
from tests.integration.test_line_file import noted_syncs

REDIRECTED = ShippingInfoChanged(shipping_info=SHIPPING_INFO)
PAID = OrderPaid(
    payment_id="pay-1",
    member_id="m-1",
    amount=300,
    points=70,
    lines=(a_line(), a_line("p-2", unit_price=200, quantity=1, discount=30, name="커피")),
)
IMPORTED = 20_000


class Service:
    """An outside service: what it was told, and how it behaves."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, str], Any]] = []
        self.status = 200
        self.headers: dict[str, str] = {}
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.app = FastAPI()
        self.app.add_route("/{path:path}", self.take, methods=["POST", "GET"])

    async def take(self, request: Request) -> Response:
        """One call."""
        self.calls.append((request.url.path, dict(request.headers), json.loads(await request.body())))
        await self.may_answer.wait()
        return JSONResponse({"is": "ignored"}, self.status, self.headers)


@pytest.fixture
async def service() -> Service:
    return Service()


@asynccontextmanager
async def ports_of(module: Any, settings: Settings, **changed: Any) -> AsyncIterator[Ports]:
    """The ports that a context brings."""
    async with module.ports(settings.model_copy(update=changed)) as made:
        yield Ports(made)


@pytest.fixture
def offline_settings(tmp_path: Path) -> Settings:
    """No database has a part in this."""
    return Settings(_env_file=None, data_dir=tmp_path)  # type: ignore[call-arg]  # a developer's .env has no say


def lines_of(file: Path) -> list[Any]:
    """What stands in a file of JSON lines."""
    return [json.loads(line) for line in file.read_bytes().splitlines()]


def address_told(envelope: Envelope) -> dict[str, Any]:
    """The whole of what the shipping service is told."""
    return {
        "event_id": envelope.event_id,
        "position": 7,
        "order_id": "o-1",
        "version": 3,
        "changed_at": rfc3339(envelope.occurred_at),
        "shipping_info": {
            "receiver": {"name": "Ann", "phone": "555"},
            "address": {"zip_code": "12345", "address1": "1 Example Street", "address2": ""},
            "message": "ring twice",
        },
    }


def sale_told(envelope: Envelope) -> dict[str, Any]:
    """The whole of what the data platform is told."""
    line = {"product_id": "p-1", "name": "Product", "category": "things", "unit_price": 100, "quantity": 2}
    other = {"product_id": "p-2", "name": "커피", "category": "things", "unit_price": 200, "quantity": 1}
    return {
        "event_id": envelope.event_id,
        "position": 7,
        "order_id": "o-1",
        "version": 3,
        "member_id": "m-1",
        "payment_id": "pay-1",
        "paid_at": rfc3339(envelope.occurred_at),
        "currency": "USD",
        "total_amount": 400,
        "discount_amount": 30,
        "points_used": 70,
        "payment_amount": 300,
        "lines": [line | {"amount": 200, "discount": 0}, other | {"amount": 200, "discount": 30}],
    }


@dataclass(frozen=True)
class Case:
    """A reaction, with the way to whom it tells something."""

    reaction: Reaction
    brought: ModuleType
    event: DomainEvent
    setting: str
    file: str
    expected: Callable[[Envelope], dict[str, Any]]


SHIPPING = Case(shipping_sync, shipping_ports, REDIRECTED, "shipping_url", "shipping.ndjson", address_told)
SALES = Case(data_platform, data_platform_ports, PAID, "data_platform_url", "orders.ndjson", sale_told)


@pytest.mark.parametrize("case", [SHIPPING, SALES], ids=lambda case: case.reaction.name)
class TestBoth:
    """What the two reactions have in common."""

    async def test_the_service_is_told_in_each_attempt_with_a_key_that_tells_repeats(
        self, case: Case, service: Service, offline_settings: Settings
    ) -> None:
        envelope = told(case.event, "o-1", position=7, version=3)
        async with (
            served(service.app) as at,
            ports_of(case.brought, offline_settings, **{case.setting: f"{at.url}/hooks/in"}) as ports,
        ):
            for _ in range(2):
                await answer(case.reaction, envelope, ports)

        assert [(path, body) for path, _, body in service.calls] == [("/hooks/in", case.expected(envelope))] * 2
        for _, headers, _ in service.calls:
            assert headers["idempotency-key"] == envelope.event_id
            assert headers["traceparent"] == TRACEPARENT
            assert headers["content-type"] == "application/json"
        assert not (offline_settings.data_dir / "outside").exists()

    async def test_without_a_service_there_is_one_line_for_each_event(
        self, case: Case, offline_settings: Settings
    ) -> None:
        envelope = told(case.event, "o-1", position=7, version=3)
        for _ in range(2):
            async with ports_of(case.brought, offline_settings) as ports:
                await asyncio.gather(*(answer(case.reaction, envelope, ports) for _ in range(3)))

        assert lines_of(offline_settings.data_dir / "outside" / case.file) == [case.expected(envelope)]

    async def test_they_are_found_by_the_daemon(self, case: Case) -> None:
        assert case.reaction in reactions()
        assert case.reaction.event_types == {type(case.event)}


class TestHttp:
    """A service that does not do what it should."""

    @pytest.mark.parametrize("status", [301, 307, 400, 401, 404, 409, 429, 500, 503])
    async def test_any_answer_but_a_good_one_is_a_failed_attempt(self, service: Service, status: int) -> None:
        service.status = status
        service.headers = {"Location": "/elsewhere"} if status < 400 else {}
        async with served(service.app) as at, outside_client() as client:
            with pytest.raises(OutsideError, match=f"answered {status}"):
                await HttpSink(client, at.url).tell(told(PAID, "o-1"), {"event_id": "e"})

        assert len(service.calls) == 1

    async def test_a_service_that_is_slow_is_given_up_and_holds_up_nobody_else(self, service: Service) -> None:
        service.may_answer.clear()
        async with served(service.app) as at, outside_client() as client:
            slow = HttpSink(client, at.url, timeout_seconds=0.5)
            started = time.monotonic()
            attempts = [slow.tell(told(PAID, f"o-{number}"), {"event_id": "e"}) for number in range(200)]
            outcomes = await asyncio.gather(*attempts, return_exceptions=True)
            took = time.monotonic() - started
            service.may_answer.set()
            await slow.tell(told(PAID, "o-1"), {"event_id": "e"})

        assert {str(outcome) for outcome in outcomes} == {"no answer within 0.5 seconds"}
        assert took < 5, "they waited in line for each other"

    async def test_an_answer_that_drips_has_an_end(self) -> None:
        over = asyncio.Event()

        async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n")
            while not over.is_set():
                writer.write(b".")
                await asyncio.sleep(0.02)
            writer.close()

        async with await asyncio.start_server(drip, "127.0.0.1", 0) as server, outside_client() as client:
            port = server.sockets[0].getsockname()[1]
            sink = HttpSink(client, f"http://127.0.0.1:{port}", timeout_seconds=0.3)
            with pytest.raises(OutsideError, match="no answer within"):
                await sink.tell(told(PAID, "o-1"), {"event_id": "e"})
            over.set()

    async def test_a_service_that_is_dead_is_a_failed_attempt_whose_error_tells_no_password(
        self, unused_tcp_port_factory: Callable[[], int]
    ) -> None:
        async with outside_client() as client:
            sink = HttpSink(client, f"http://ann:secret@127.0.0.1:{unused_tcp_port_factory()}/x")
            with pytest.raises(OutsideError) as raised:
                await sink.tell(told(PAID, "o-1"), {"event_id": "e"})

        assert str(raised.value) == "no answer (ConnectError)"

    async def test_a_service_that_hangs_up_is_told_again_on_a_new_connection(self, service: Service) -> None:
        async with outside_client() as client:
            async with served(service.app) as at:
                await HttpSink(client, at.url).tell(told(PAID, "o-1"), {"event_id": "e"})
            with pytest.raises(OutsideError):
                await HttpSink(client, at.url).tell(told(PAID, "o-1"), {"event_id": "e"})
            async with served(service.app) as back:
                await HttpSink(client, back.url).tell(told(PAID, "o-1"), {"event_id": "e"})

    async def test_no_proxy_of_the_environment_sees_the_shops_data(
        self, service: Service, monkeypatch: pytest.MonkeyPatch, unused_tcp_port_factory: Callable[[], int]
    ) -> None:
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{unused_tcp_port_factory()}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        async with served(service.app) as at, outside_client() as client:
            await HttpSink(client, at.url).tell(told(PAID, "o-1"), {"event_id": "e"})

        assert len(service.calls) == 1


class TestFile:
    """The disk is ours."""

    async def test_a_disk_that_does_not_take_it_is_waited_for(self, tmp_path: Path) -> None:
        (tmp_path / "outside").write_text("a file stands where the folder should be")
        sink = FileSink(tmp_path / "outside" / "orders.ndjson")

        with pytest.raises(NotNow, match=r"orders\.ndjson"):
            await sink.tell(told(PAID, "o-1"), {"event_id": "e"})
        (tmp_path / "outside").unlink()
        envelope = told(PAID, "o-1")
        await sink.tell(envelope, {"event_id": envelope.event_id})
        await sink.close()

        assert lines_of(tmp_path / "outside" / "orders.ndjson") == [{"event_id": envelope.event_id}]

    async def test_an_import_shares_its_syncs(
        self, offline_settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        syncs = noted_syncs(monkeypatch)
        left = iter([told(PAID, f"o-{number}", position=number) for number in range(1, IMPORTED + 1)])

        async with ports_of(data_platform_ports, offline_settings) as ports:

            async def some() -> None:
                for envelope in left:
                    await answer(data_platform, envelope, ports)

            await asyncio.gather(*(some() for _ in range(64)))

        lines = lines_of(offline_settings.data_dir / "outside" / "orders.ndjson")
        assert len({line["event_id"] for line in lines}) == len(lines) == IMPORTED
        assert len(syncs) <= IMPORTED / 20


async def test_an_address_is_told_whole_in_the_order_of_the_log(offline_settings: Settings) -> None:
    envelopes = [told(REDIRECTED, "o-1", position=number, version=number) for number in range(1, 6)]
    async with ports_of(shipping_ports, offline_settings) as ports:
        assert isinstance(ports.of(ShippingService).sink, FileSink)
        for envelope in envelopes:
            await answer(shipping_sync, envelope, ports)

    lines = lines_of(offline_settings.data_dir / "outside" / "shipping.ndjson")
    assert [line["version"] for line in lines] == [1, 2, 3, 4, 5]
