"""The event feed over real sockets and a real Postgres: long polls, streams, filters, seats, ends."""

import asyncio
import re
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
from httpx_sse import ServerSentEvent, aconnect_sse

from command.app import create_app
from events import envelope
from events.catalog import ProductRegistered, StockAdjusted
from events.envelope import DomainEvent, upcaster
from events.members import MemberRegistered
from events.values import Value
from eventstore import PendingEvent, Sequencer, append
from runtime.postgres import make_engine
from runtime.settings import Settings
from tests.instances import PRODUCT_CATALOG
from tests.integration.projecting import a_read_side, projecting, until
from tests.integration.serving import Served, refusal, served

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to" / "subscribe.md"


class Log:
    """Writes events, and sequences them at once."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._engine = make_engine(url, "test log", pool_size=1)
        self._sequencer = Sequencer(url)
        self._versions: dict[str, int] = {}

    async def add(self, *events: tuple[str, DomainEvent]) -> None:
        """Events of aggregates with these ids."""
        async with self._engine.begin() as connection:
            await append(connection, [self._pending(*event) for event in events])
        while (await self._sequencer.sequence()).moved:
            pass

    async def adjust(self, count: int = 1, product_id: str = "p-1", reason: str = "count") -> None:
        """So many events of a product."""
        await self.add(*((product_id, StockAdjusted(delta=1, reason=reason)) for _ in range(count)))

    def _pending(self, aggregate_id: str, event: DomainEvent) -> PendingEvent:
        version = self._versions[aggregate_id] = self._versions.get(aggregate_id, 0) + 1
        return PendingEvent(aggregate_id, version, datetime.now(UTC), event)

    async def close(self) -> None:
        """Let go of the connections."""
        await self._sequencer.close()
        await self._engine.dispose()


@pytest.fixture
async def log(postgres_url: str) -> AsyncIterator[Log]:
    log = Log(postgres_url)
    yield log
    await log.close()


@pytest.fixture
async def api(settings: Settings) -> AsyncIterator[Served]:
    async with served(create_app(settings)) as api:
        yield api


@pytest.fixture
async def operator(api: Served) -> AsyncIterator[httpx.AsyncClient]:
    async with api.client("op", "operator") as client:
        yield client


def positions(answer: httpx.Response) -> list[int]:
    """Of a batch."""
    assert answer.status_code == 200, answer.text
    return [event["position"] for event in answer.json()]


def problem(answer: httpx.Response) -> tuple[int, str]:
    """Status and slug."""
    return answer.status_code, answer.json()["type"].removeprefix("/problems/")


async def listening(api: Served, count: int) -> None:
    """Wait until so many seats are taken."""

    async def are_listening() -> bool:
        return api.listening == count

    await until(are_listening, f"{count} listeners, not {api.listening}")


def waiting(client: httpx.AsyncClient, wait: int = 60, **query: Any) -> asyncio.Task[httpx.Response]:
    """A long poll."""
    return asyncio.create_task(client.get("/events", params=query, headers={"Prefer": f"wait={wait}"}))


class Reader:
    """Somebody who reads a stream."""

    def __init__(self, events: AsyncIterator[ServerSentEvent], response: httpx.Response) -> None:
        self._events = events
        self.response = response

    async def take(self, count: int) -> list[ServerSentEvent]:
        """The next so many events."""
        async with asyncio.timeout(60):
            return [await anext(self._events) for _ in range(count)]

    async def positions(self, count: int) -> list[int]:
        """Of the next so many events."""
        taken = await self.take(count)
        assert [event.json()["position"] for event in taken] == [int(event.id) for event in taken]
        return [int(event.id) for event in taken]

    async def rest(self) -> list[ServerSentEvent]:
        """What comes until the stream ends."""
        async with asyncio.timeout(60):
            return [event async for event in self._events]


@asynccontextmanager
async def streaming(
    client: httpx.AsyncClient, seen: int | None = None, path: str = "/events/stream", **query: Any
) -> AsyncIterator[Reader]:
    headers = {} if seen is None else {"Last-Event-ID": str(seen)}
    async with aconnect_sse(client, "GET", path, params=query, headers=headers) as source:
        assert source.response.status_code == 200, await source.response.aread()
        yield Reader(source.aiter_sse(), source.response)


class TestLongPoll:
    """`Prefer: wait=N`."""

    async def test_what_is_there_is_told_at_once_and_takes_no_seat(self, operator: httpx.AsyncClient, log: Log) -> None:
        await log.adjust(3)

        answer = await waiting(operator, after=1)

        assert positions(answer) == [2, 3]
        assert answer.headers["content-type"] == "application/cloudevents-batch+json"
        assert answer.headers["preference-applied"] == "wait=60"
        assert answer.headers["link"] == '</events?after=3>; rel="next"'

    async def test_what_comes_later_ends_the_wait(self, api: Served, operator: httpx.AsyncClient, log: Log) -> None:
        await log.adjust(2)
        asked = waiting(operator, after=2)
        await listening(api, 1)

        await log.adjust()

        assert positions(await asked) == [3]
        await listening(api, 0)

    async def test_at_the_end_of_the_wait_there_is_an_empty_batch(self, operator: httpx.AsyncClient, log: Log) -> None:
        await log.adjust(2)

        answer = await waiting(operator, wait=1, after=2)

        assert positions(answer) == []
        assert answer.headers["link"] == '</events?after=2>; rel="next"'

    async def test_a_longer_wait_than_there_is_is_granted_in_part(self, operator: httpx.AsyncClient, log: Log) -> None:
        await log.adjust()

        answer = await waiting(operator, wait=999)

        assert answer.headers["preference-applied"] == "wait=60"

    async def test_two_hundred_who_wait_are_all_woken(self, api: Served, operator: httpx.AsyncClient, log: Log) -> None:
        asked = [waiting(operator) for _ in range(200)]
        await listening(api, 200)

        await log.adjust(2)

        assert {tuple(positions(answer)) for answer in await asyncio.gather(*asked)} <= {(1,), (1, 2)}
        await listening(api, 0)

    async def test_a_filter_waits_for_its_own_events_and_next_goes_past_the_others(
        self, api: Served, operator: httpx.AsyncClient, log: Log
    ) -> None:
        asked = waiting(operator, event_type="MemberRegistered", limit=5)
        await listening(api, 1)
        await log.adjust(3)
        await log.add(("m-1", MemberRegistered(email="a@example.org", name="A")))

        found = await asked
        after = await operator.get(found.links["next"]["url"])

        assert positions(found) == [4]
        assert found.links["next"]["url"] == "/events?event_type=MemberRegistered&limit=5&after=4"
        assert positions(after) == []

    async def test_who_goes_away_gives_the_seat_back(self, api: Served) -> None:
        async with api.client("op", "operator") as client:
            asked = waiting(client)
            await listening(api, 1)
            asked.cancel()
            await asyncio.gather(asked, return_exceptions=True)
        await listening(api, 0)


class TestFilters:
    """By aggregate and type."""

    @pytest.fixture
    async def filled(self, log: Log) -> Log:
        await log.adjust(2)
        await log.add(("m-1", MemberRegistered(email="a@example.org", name="A")))
        await log.adjust(2, "p-2")
        return log

    @pytest.mark.usefixtures("filled")
    async def test_next_goes_to_where_the_log_was_looked_at(self, operator: httpx.AsyncClient) -> None:
        cases: list[tuple[dict[str, Any], list[int], int]] = [
            ({"aggregate_type": "member"}, [3], 5),
            ({"aggregate_id": "p-2"}, [4, 5], 5),
            ({"aggregate_type": "product", "aggregate_id": "p-1"}, [1, 2], 5),
            ({"event_type": "StockAdjusted"}, [1, 2, 4, 5], 5),
            ({"event_type": "StockAdjusted", "limit": 3}, [1, 2, 4], 4),
            ({"aggregate_id": "none"}, [], 5),
            ({"aggregate_id": "none", "after": 9}, [], 9),
        ]
        for query, expected, following in cases:
            answer = await operator.get("/events", params=query)

            assert positions(answer) == expected, query
            assert httpx.URL(answer.links["next"]["url"]).params["after"] == str(following), query

    @pytest.mark.usefixtures("filled")
    async def test_a_scan_goes_in_steps_and_skips_nothing(
        self, operator: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("eventstore.watch.SCANNED_AT_ONCE", 2)

        first = await operator.get("/events", params={"aggregate_type": "member"})
        second = await operator.get(first.links["next"]["url"])
        waited = await operator.get("/events", params={"aggregate_type": "member"}, headers={"Prefer": "wait=60"})

        assert (positions(first), positions(second), positions(waited)) == ([], [3], [3])
        async with streaming(operator, aggregate_type="member") as reader:
            assert await reader.positions(1) == [3]

    async def test_a_stream_takes_the_same_filters(self, operator: httpx.AsyncClient, filled: Log) -> None:
        async with streaming(operator, after=1, aggregate_type="product", event_type="StockAdjusted") as reader:
            assert await reader.positions(3) == [2, 4, 5]
            await filled.add(("m-2", MemberRegistered(email="b@example.org", name="B")))
            await filled.adjust()
            assert await reader.positions(1) == [7]


class TestStream:
    """`GET /events/stream`."""

    async def test_a_stream_tells_what_is_there_and_then_what_comes(
        self, operator: httpx.AsyncClient, log: Log
    ) -> None:
        await log.adjust(150)
        batch = (await operator.get("/events", params={"limit": 1000})).json()

        async with streaming(operator) as reader:
            told = await reader.take(150)
            await log.adjust(3)
            assert await reader.positions(3) == [151, 152, 153]

        assert reader.response.headers["content-type"].startswith("text/event-stream")
        assert reader.response.headers["cache-control"] == "no-store"
        assert [event.json() for event in told] == batch

    async def test_nothing_is_lost_or_told_twice_over_reconnects_and_a_restart(
        self, settings: Settings, log: Log
    ) -> None:
        seen: list[int] = []
        writing = asyncio.create_task(_write(log, batches=30))
        for taken in (1, 7, 20, 32):
            # Each time another process: what it knew of the log is gone.
            async with served(create_app(settings)) as api, api.client("op", "operator") as client:
                for _ in range(2):
                    async with streaming(client, seen[-1] if seen else None) as reader:
                        seen += await reader.positions(taken)
        await writing

        assert seen == list(range(1, 121))

    async def test_last_event_id_wins_over_after(self, operator: httpx.AsyncClient, log: Log) -> None:
        await log.adjust(5)

        async with streaming(operator, 3, after=1) as reader:
            assert await reader.positions(2) == [4, 5]

    async def test_an_id_of_no_event_is_refused(self, operator: httpx.AsyncClient) -> None:
        for made_up in ("x", "-1", "1.5", "9" * 30, "١"):
            answer = await refusal(operator, "/events/stream", headers={b"Last-Event-ID": made_up.encode()})

            assert problem(answer) == (422, "invalid-input")

    @pytest.mark.parametrize("path", ["/events", "/events/stream"])
    async def test_a_filter_that_does_not_exist_is_refused_and_not_passed_over(
        self, operator: httpx.AsyncClient, path: str
    ) -> None:
        answer = await operator.get(path, params={"agregate_id": "o-1"})
        assert problem(answer) == (422, "invalid-input")

    async def test_heartbeats_keep_the_connection_alive_and_are_no_events(
        self, operator: httpx.AsyncClient, log: Log, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("runtime.streams.HEARTBEAT_SECONDS", 0.02)
        await log.adjust()

        async with streaming(operator) as reader:
            assert await reader.positions(1) == [1]
            async with operator.stream("GET", "/events/stream", params={"after": 1}) as answer:
                lines = answer.aiter_lines()
                assert [await anext(lines) for _ in range(3)] == [": heartbeat"] * 3
            await log.adjust()
            assert await reader.positions(1) == [2]

    async def test_a_token_that_expires_ends_its_stream(
        self, operator: httpx.AsyncClient, log: Log, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await log.adjust()
        monkeypatch.setattr("command.feed.time", lambda: time.time() + 3604.5)  # when an hour is almost over

        async with streaming(operator) as reader:
            assert [int(event.id) for event in await reader.rest()] == [1]

    async def test_only_operators_may_listen(self, api: Served) -> None:
        for scope in ("staff", "customer"):
            async with api.client("x", scope) as client:
                assert (await refusal(client, "/events/stream")).status_code == 403
                assert (await refusal(client, "/events/stream", headers={"Authorization": ""})).status_code == 401

    async def test_streams_outlast_an_outage_of_the_database(self, operator: httpx.AsyncClient, log: Log) -> None:
        await log.adjust()
        async with streaming(operator) as reader:
            assert await reader.positions(1) == [1]
            await _cut_connections(log.url, "readside command-api feed")
            await log.adjust(2)
            assert await reader.positions(2) == [2, 3]


class TestSeats:
    """As many as there is room for."""

    @pytest.fixture
    async def api(self, settings: Settings) -> AsyncIterator[Served]:
        async with served(create_app(settings.model_copy(update={"most_listeners": 2}))) as api:
            yield api

    async def test_past_them_a_problem_says_when_to_try_again(
        self, api: Served, operator: httpx.AsyncClient, log: Log
    ) -> None:
        asked = waiting(operator)
        async with streaming(operator):
            await listening(api, 2)
            refused = [await refusal(operator, "/events/stream"), await waiting(operator)]
            at_once = await operator.get("/events")

        assert [problem(answer) for answer in refused] == [(503, "too-many-listeners")] * 2
        assert all(int(answer.headers["retry-after"]) > 0 for answer in refused)
        assert positions(at_once) == []
        await listening(api, 1)
        await log.adjust()
        assert positions(await asked) == [1]
        async with streaming(operator) as reader:
            assert await reader.positions(1) == [1]


class TestEnds:
    """Nobody who waits holds up the end, and nobody who does not read is waited for."""

    async def test_open_streams_and_long_polls_end_with_the_process(self, settings: Settings) -> None:
        async with served(create_app(settings)) as api, api.client("op", "operator") as client:
            polls = [waiting(client) for _ in range(10)]
            rests = [asyncio.create_task(_rest(client)) for _ in range(50)]
            await listening(api, 60)

            api.server.should_exit = True

            # Well within what the server would have waited for them, and all of them by a regular end.
            async with asyncio.timeout(60):
                assert await asyncio.gather(*rests) == [[]] * 50
                assert [positions(answer) for answer in await asyncio.gather(*polls)] == [[]] * 10
            await listening(api, 0)

    async def test_a_reader_that_takes_nothing_is_dropped(self, settings: Settings, log: Log) -> None:
        await _fill(log)
        app = create_app(settings.model_copy(update={"slow_reader_seconds": 1.0}))
        async with served(app) as api:
            with closing(await _deaf_reader(api)):
                await listening(api, 1)
                await listening(api, 0)
                await until(lambda: _have_gone(api), "the connection to be cut")

    async def test_a_reader_that_takes_nothing_does_not_hold_up_the_end(
        self, settings: Settings, log: Log, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("runtime.serving._STUCK_AFTER_SECONDS", 0.1)
        await _fill(log)
        async with served(create_app(settings)) as api:
            with closing(await _deaf_reader(api)):

                async def is_stuck() -> bool:
                    connections = api.server.server_state.connections
                    return any(one.flow.write_paused for one in connections)  # type: ignore[union-attr]

                await until(is_stuck, "a full socket")
                api.server.config.timeout_graceful_shutdown = None  # it would cut everybody, sooner or later
                api.server.should_exit = True
                await until(lambda: _have_gone(api), "the connection to be cut")


class TestSchemas:
    """What events look like."""

    async def test_every_event_is_as_its_dataschema_says(self, operator: httpx.AsyncClient, log: Log) -> None:
        product = ProductRegistered(name="Mug", category="cups", unit_price=5, currency="EUR", stock=1)
        await log.add(("p-1", product), ("m-1", MemberRegistered(email="a@example.org", name="A")))
        await log.adjust()
        batch = (await operator.get("/events")).json()
        document = (await operator.get("/asyncapi.json", headers={"Authorization": ""})).json()

        assert [event["type"] for event in batch] == ["ProductRegistered", "MemberRegistered", "StockAdjusted"]
        for event in batch:
            answer = await operator.get(event["dataschema"], headers={"Authorization": ""})
            assert answer.headers["content-type"] == "application/schema+json"
            assert answer.json()["$id"] == event["dataschema"]
            jsonschema.Draft202012Validator.check_schema(answer.json())
            jsonschema.validate(event["data"], answer.json())
            version = event["dataschema"].rpartition("/")[2]
            message = document["components"]["messages"][f"{event['type']}.v{version}"]
            jsonschema.validate(event, message["payload"] | {"components": document["components"]})

    async def test_the_list_names_every_event_and_version(self, operator: httpx.AsyncClient) -> None:
        items = (await operator.get("/events/schemas")).json()["items"]

        assert {item["type"] for item in items} == set(envelope.event_types())
        assert all([(await operator.get(item["dataschema"])).status_code == 200 for item in items])

    async def test_what_was_never_published_is_not_found(self, operator: httpx.AsyncClient) -> None:
        for path in ("OrderPlaced/99", "Nothing/1"):
            assert problem(await operator.get(f"/events/schemas/{path}")) == (404, "not-found")


class StockChangedByHand(Value, frozen=True, kw_only=True):
    """`StockAdjusted` as it was written before anybody asked for reasons."""

    change: int


@pytest.fixture
def older_stock_adjusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Version 0 of `StockAdjusted`, as a module of `events` would declare it."""
    monkeypatch.setattr(envelope, "_upcasters", dict(envelope._upcasters))
    monkeypatch.setattr(envelope, "_shapes", dict(envelope._shapes))

    @upcaster("StockAdjusted", 0, shape=StockChangedByHand)
    def with_a_reason(fields: dict[str, Any]) -> dict[str, Any]:
        return {"delta": fields["change"], "reason": "not recorded"}


async def test_an_event_of_an_older_version_arrives_upcast_in_the_view_and_as_written_in_the_feed(
    settings: Settings, log: Log, older_stock_adjusted: None
) -> None:
    product = ProductRegistered(name="Mug", category="cups", unit_price=5, currency="EUR", stock=1)
    await log.add(("p-1", product), ("p-1", StockAdjusted(delta=1, reason="found")))
    await _execute(
        log.url,
        """UPDATE event_log SET schema_version = 0, payload = '{"change":41}' WHERE position = 2""",
    )

    async with projecting(settings), a_read_side(settings) as read_side:
        await read_side.reached(2)
        stocked = await read_side.documents(PRODUCT_CATALOG)
    async with served(create_app(settings)) as api, api.client("op", "operator") as client:
        [told] = (await client.get("/events", params={"after": 1})).json()
        schema = (await client.get(told["dataschema"])).json()
        listed = (await client.get("/events/schemas")).json()["items"]

    assert stocked["p-1"]["stock"] == 42
    assert (told["dataschema"], told["data"]) == ("/events/schemas/StockAdjusted/0", {"change": 41})
    jsonschema.validate(told["data"], schema)
    assert [(item["version"], item["current"]) for item in listed if item["type"] == "StockAdjusted"] == [
        (0, False),
        (1, True),
    ]


async def test_the_consumer_of_the_how_to_goes_on_where_it_was(api: Served, log: Log, tmp_path: Path) -> None:
    [source] = [
        block for block in re.findall(r"```python\n(.*?)```", HOW_TO.read_text(), re.DOTALL) if "wait=" in block
    ]
    assert len([line for line in source.splitlines() if line.strip()]) <= 20
    (tmp_path / "consumer.py").write_text(source)
    token = api.as_("op", "operator")["Authorization"].removeprefix("Bearer ")
    environment = {"COMMAND_API": api.url, "TOKEN": token, "PYTHONUNBUFFERED": "1"}

    async def handled(count: int) -> list[str]:
        """Let it run until it has handled so many, then kill it."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "consumer.py", cwd=tmp_path, env=environment, stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        try:
            async with asyncio.timeout(60):
                lines = [(await process.stdout.readline()).decode().strip() for _ in range(count)]

            async def is_kept() -> bool:
                return (tmp_path / "position").read_text() == lines[-1].partition(" ")[0]

            await until(is_kept, "the position to be kept")
        finally:
            process.kill()
            await process.wait()
        return lines

    await log.adjust(3)
    first = await handled(3)
    await log.adjust(2)
    consuming = asyncio.create_task(handled(3))
    await listening(api, 1)
    await log.adjust()
    second = await consuming

    assert first + second == [f"{position} StockAdjusted product/p-1" for position in range(1, 7)]


async def _have_gone(api: Served) -> bool:
    return not api.server.server_state.connections


async def _write(log: Log, batches: int) -> None:
    for _ in range(batches):
        await log.adjust(4)


async def _rest(client: httpx.AsyncClient) -> Sequence[ServerSentEvent]:
    async with streaming(client) as reader:
        return await reader.rest()


async def _fill(log: Log) -> None:
    """More than all the buffers between here and a reader hold."""
    await log.adjust(400, reason="x" * 100_000)


async def _deaf_reader(api: Served) -> socket.socket:
    """Asks for the stream, and never reads."""
    deaf = socket.socket()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    deaf.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(deaf, ("127.0.0.1", api.port))
    headers = {"Host": "x", **api.as_("op", "operator")}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    await loop.sock_sendall(deaf, f"GET /events/stream HTTP/1.1\r\n{lines}\r\n".encode())
    return deaf


async def _execute(url: str, statement: str, *values: object) -> None:
    import asyncpg

    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement, *values)
    finally:
        await connection.close()


async def _cut_connections(url: str, name: str) -> None:
    """As if the server had been restarted."""
    statement = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name = $1"
    )
    await _execute(url, statement, name)
