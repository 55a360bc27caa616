"""Live reads over real sockets and a real MongoDB: the state now, then every change, through outages and rebuilds."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
import pytest
from httpx_sse import ServerSentEvent, aconnect_sse
from motor.motor_asyncio import AsyncIOMotorClientSession
from pymongo import UpdateOne

from query import sales
from query.app import create_app
from runtime.settings import Settings
from tests.integration.projecting import until
from tests.integration.query.shop import INSTANCES, PLACED_AT, Shop, an_order, token
from tests.integration.query.test_query_without_mongodb import Wire, wire
from tests.integration.serving import Served, refusal, served

__all__ = ["wire"]

LATER = "2026-03-02T10:00:00.000000Z"
ORDER = "/orders/o-1/stream"
SALES = "/statistics/sales/stream"
MARCH: dict[str, Any] = {"from": "2026-03-01", "to": "2026-03-31"}


@asynccontextmanager
async def _running(settings: Settings) -> AsyncIterator[Served]:
    app = create_app(settings)
    async with served(app) as api:
        follower = app.state.read_models.follower
        assert await follower.reaches(lambda: follower.available, 60)
        yield api


@pytest.fixture
async def api(query_settings: Settings, shop: Shop) -> AsyncIterator[Served]:
    async with _running(query_settings) as api:
        yield api


@pytest.fixture
async def staff(api: Served) -> AsyncIterator[httpx.AsyncClient]:
    async with api.client("sam", "staff") as client:
        yield client


class Reader:
    """Somebody who reads a stream."""

    def __init__(self, events: AsyncIterator[ServerSentEvent], response: httpx.Response) -> None:
        self._events = events
        self.headers = response.headers

    async def next(self) -> ServerSentEvent:
        """The next event."""
        async with asyncio.timeout(60):
            return await anext(self._events)

    async def order(self) -> tuple[str, str, int]:
        """The next event, which must be of an order: id, status, version."""
        found = await self.next()
        assert found.event == "order", found
        return found.id, found.json()["status"], found.json()["version"]

    async def sales_until(self, paid_orders: int) -> ServerSentEvent:
        """The first event with so many paid orders; the ones before have fewer, each more than the last."""
        seen = -1
        while True:
            found = await self.next()
            assert found.event == "sales", found
            now = found.json()["totals"]["paid_orders"]
            assert seen < now <= paid_orders
            if now == paid_orders:
                return found
            seen = now

    async def rest(self) -> list[ServerSentEvent]:
        """What comes until the stream ends."""
        async with asyncio.timeout(60):
            return [event async for event in self._events]


@asynccontextmanager
async def streaming(
    client: httpx.AsyncClient, path: str, seen: str | None = None, headers: dict[str, str] | None = None, **query: Any
) -> AsyncIterator[Reader]:
    sent = {**(headers or {}), **({} if seen is None else {"Last-Event-ID": seen})}
    async with aconnect_sse(client, "GET", path, params=query, headers=sent) as source:
        assert source.response.status_code == 200, await source.response.aread()
        yield Reader(source.aiter_sse(), source.response)


def problem(answer: httpx.Response) -> tuple[int, str]:
    """Status and slug."""
    return answer.status_code, answer.json()["type"].removeprefix("/problems/")


async def change(shop: Shop, version: int, status: str, order_id: str = "o-1", **fields: Any) -> None:
    """A new version of an order, as the projector writes it."""
    changes = {"version": version, "status": status, "updated_at": LATER, **fields}
    await shop.database[INSTANCES["order_detail"]].update_one({"_id": order_id}, {"$set": changes})


async def sell(shop: Shop, position: int, day: str = "2026-03-02", product_id: str = "p-1", times: int = 1) -> None:
    """Count paid orders of 500, and move the checkpoint, as the projector does: in one transaction. One by one, whoever
    watches may be woken in between, and rightly tell rows and totals that are not of the same moment."""
    collection = shop.database[INSTANCES["sales_statistics"]]
    sold = {"paid_orders": times, "gross_sales": 500 * times, "units": 2 * times}
    counters = [
        UpdateOne({"_id": f"{granularity}|{group}|{period}|{key}"}, {"$inc": sold}, upsert=True)
        for period, granularity in ((f"{day}T09:00", "hour"), (day, "day"), (day[:7], "month"))
        for group, key in (("none", ""), ("product", product_id), ("category", "office"))
    ]

    async def write(session: AsyncIOMotorClientSession) -> None:
        await collection.bulk_write(counters, session=session)
        await shop.advance("sales_statistics", position, f"{position}:{position}:", session=session)

    async with await shop.database.client.start_session() as session:
        await session.with_transaction(write)


async def is_known(api: Served, position: int) -> None:
    """The query API has heard that the sales have come so far: until then it may read them, and not yet say so."""
    follower = api.app.state.read_models.follower
    assert await follower.reaches(lambda: follower.checkpoint("sales_statistics").position == position, 60)


class TestOrders:
    """`GET /orders/{order_id}/stream`."""

    async def test_the_state_now_and_then_each_change_exactly_as_the_plain_read_tells_them(
        self, shop: Shop, staff: httpx.AsyncClient
    ) -> None:
        await shop.put("order_detail", an_order(), an_order("o-2"))

        async with streaming(staff, ORDER) as reader:
            told = await reader.next()
            plain = await staff.get("/orders/o-1")
            assert (told.id, told.event, told.data) == ("1", "order", plain.text)
            assert reader.headers["content-type"].startswith("text/event-stream")
            assert reader.headers["read-model-position"] == "10"
            for version, status in enumerate(("PREPARING", "SHIPPED", "DELIVERING", "DELIVERY_COMPLETED"), 2):
                await change(shop, version, "CANCELED", "o-2")
                await change(shop, version, status)
                assert await reader.order() == (str(version), status, version)

    async def test_who_comes_back_is_told_the_newest_and_nothing_that_they_have(
        self, shop: Shop, staff: httpx.AsyncClient
    ) -> None:
        await shop.put("order_detail", an_order(version=5, status="SHIPPED"))

        async with streaming(staff, ORDER, "2") as lost_some, streaming(staff, ORDER, "5") as has_it:
            assert await lost_some.order() == ("5", "SHIPPED", 5)
            await change(shop, 6, "DELIVERING")
            assert await has_it.order() == ("6", "DELIVERING", 6)
            assert await lost_some.order() == ("6", "DELIVERING", 6)

    async def test_the_order_of_another_does_not_exist(self, api: Served, shop: Shop) -> None:
        await shop.put("order_detail", an_order(member_id="ann"))

        async with api.client("ben", "customer") as ben, api.client("ann", "customer") as ann:
            others, none = await refusal(ben, ORDER), await refusal(ben, "/orders/none/stream")
            assert problem(others) == problem(none) == (404, "not-found")
            assert others.json() == none.json()
            async with streaming(ann, ORDER) as reader:
                assert await reader.order() == ("1", "PAYMENT_WAITING", 1)
        async with api.client("op", "operator") as operator:
            assert (await refusal(operator, ORDER)).status_code == 403
            assert (await refusal(operator, ORDER, headers={"Authorization": ""})).status_code == 401

    async def test_a_parked_order_says_so_when_it_is_and_when_it_is_no_longer(
        self, shop: Shop, staff: httpx.AsyncClient
    ) -> None:
        await shop.put("order_detail", an_order(), _parked=True)

        async with streaming(staff, ORDER) as reader:
            assert reader.headers["read-model-state"] == "parked"
            assert await reader.order() == ("1", "PAYMENT_WAITING", 1)
            said = await reader.next()
            assert (said.event, said.json()) == ("read-model-state", {"read_model_state": "parked"})
            assert problem(await refusal(staff, ORDER, headers=token(99))) == (503, "read-model-parked")
            orders = shop.database[INSTANCES["order_detail"]]
            await orders.update_one({"_id": "o-1"}, {"$set": {"version": 2}, "$unset": {"_parked": ""}})
            assert await reader.order() == ("2", "PAYMENT_WAITING", 2)
            said = await reader.next()
            assert (said.event, said.json()) == ("read-model-state", {"read_model_state": "current"})
        behind = await refusal(staff, ORDER, headers=token(100) | {"Prefer": "wait=0"})
        assert problem(behind) == (503, "read-model-behind")

    async def test_a_stream_begins_after_what_the_caller_has_done(self, shop: Shop, staff: httpx.AsyncClient) -> None:
        await shop.put("order_detail", an_order())

        async def listen() -> tuple[str, str, int]:
            async with streaming(staff, ORDER, headers=token(100) | {"Prefer": "wait=30"}) as reader:
                return await reader.order()

        listening = asyncio.create_task(listen())
        await change(shop, 2, "PREPARING")
        await shop.advance("order_detail", 11, "101:101:")
        assert await listening == ("2", "PREPARING", 2)

    async def test_a_stream_goes_over_to_the_instance_that_is_served(
        self, shop: Shop, api: Served, staff: httpx.AsyncClient
    ) -> None:
        await shop.put("order_detail", an_order())
        follower = api.app.state.read_models.follower

        async with streaming(staff, ORDER) as reader:
            assert await reader.order() == ("1", "PAYMENT_WAITING", 1)
            rebuilt = shop.database["order_detail.v9"]
            await rebuilt.insert_one({**(await _stored(shop)), "version": 2, "status": "PREPARING"})
            await shop.advance("order_detail", 12, "101:101:", instance="order_detail.v9")
            await shop.database.registry.update_one({"_id": "order_detail"}, {"$set": {"active": "order_detail.v9"}})
            # Until the API has heard of it, the old one is the one that is served.
            assert await follower.reaches(lambda: follower.checkpoint("order_detail").instance == "order_detail.v9", 60)
            await change(shop, 9, "CANCELED")  # in the old one, which nobody is to see any more
            assert await reader.order() == ("2", "PREPARING", 2)
            await rebuilt.update_one({"_id": "o-1"}, {"$set": {"version": 3, "status": "SHIPPED"}})
            assert await reader.order() == ("3", "SHIPPED", 3)

    async def test_ids_that_this_stream_never_gave_are_refused(self, shop: Shop, staff: httpx.AsyncClient) -> None:
        await shop.put("order_detail", an_order())
        for path, made_up in ((ORDER, "x"), (ORDER, "-1"), (SALES, "1.x"), (SALES, "9" * 40)):
            assert problem(await refusal(staff, path, headers={"Last-Event-ID": made_up})) == (422, "invalid-input")
        assert problem(await refusal(staff, SALES, params={"granularity": "year"})) == (422, "invalid-input")
        assert problem(await refusal(staff, SALES, params={"sort": "x"})) == (422, "invalid-input")


class TestSales:
    """`GET /statistics/sales/stream`."""

    async def test_the_sums_now_and_then_as_they_move(self, shop: Shop, staff: httpx.AsyncClient) -> None:
        await sell(shop, 11)
        query = {**MARCH, "granularity": "day", "group_by": "product"}

        async with streaming(staff, SALES, **query) as reader:
            told = await reader.next()
            plain = await staff.get("/statistics/sales", params=query)
            assert (told.event, told.data) == ("sales", plain.text)
            await sell(shop, 12, product_id="p-2")
            await sell(shop, 13, day="2026-03-09", times=3)
            last = await reader.sales_until(5)
            assert last.data == (await staff.get("/statistics/sales", params=query)).text
            assert last.json()["totals"]["gross_sales"] == 2500

    async def test_what_moves_no_sum_is_not_told(self, shop: Shop, staff: httpx.AsyncClient) -> None:
        async with streaming(staff, SALES, **MARCH) as reader:
            assert (await reader.next()).json()["rows"] == []
            for position in range(11, 20):
                await shop.advance("sales_statistics", position, f"{position}:{position}:")
            await sell(shop, 20, day="2025-01-01")
            await sell(shop, 21)
            assert (await reader.next()).json()["totals"]["paid_orders"] == 1

    async def test_who_comes_back_is_told_nothing_that_they_have(
        self, api: Served, shop: Shop, staff: httpx.AsyncClient
    ) -> None:
        await sell(shop, 11)
        await is_known(api, 11)
        async with streaming(staff, SALES, **MARCH) as reader:
            seen = (await reader.next()).id

        async with streaming(staff, SALES, seen, **MARCH) as has_it, streaming(staff, SALES, "10", **MARCH) as lost:
            assert (await lost.next()).json()["totals"]["paid_orders"] == 1
            await sell(shop, 12)
            assert (await has_it.next()).json()["totals"]["paid_orders"] == 2

    async def test_settled_dead_letters_are_told_without_a_change_of_the_position(
        self, api: Served, shop: Shop, staff: httpx.AsyncClient
    ) -> None:
        await sell(shop, 11)
        await is_known(api, 11)
        async with streaming(staff, SALES, **MARCH) as reader:
            assert (await reader.next()).id == "11"
            await sell(shop, 11)
            checkpoint = {"_id": INSTANCES["sales_statistics"]}
            await shop.database.checkpoints.update_one(checkpoint, {"$set": {"unparked": 1}})
            told = await reader.sales_until(2)
            assert told.id in ("11", "11.1")
        follower = api.app.state.read_models.follower
        assert await follower.reaches(lambda: follower.checkpoint("sales_statistics").unparked == 1, 60)
        async with streaming(staff, SALES, "11", **MARCH) as reader:
            assert (await reader.next()).id == "11.1"

    async def test_only_staff_may_listen(self, api: Served) -> None:
        async with api.client("ann", "customer") as ann:
            assert (await refusal(ann, SALES)).status_code == 403
            assert (await refusal(ann, SALES, headers={"Authorization": ""})).status_code == 401

    async def test_all_who_ask_for_the_same_share_one_query(
        self, shop: Shop, staff: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked = 0
        plain: Any = sales.rows

        async def counted(*arguments: Any) -> AsyncIterator[Any]:
            nonlocal asked
            asked += 1
            async for rows in plain(*arguments):
                yield rows

        monkeypatch.setattr("query.sales.rows", counted)
        async with _many(staff, 20, SALES, **MARCH) as readers:
            await asyncio.gather(*(reader.next() for reader in readers))
            asked = 0
            await sell(shop, 11)
            await asyncio.gather(*(reader.sales_until(1) for reader in readers))
        assert 1 <= asked < 20


class TestEverybody:
    """What holds for every stream."""

    async def test_a_hundred_listen_at_once_and_all_are_told(self, shop: Shop, staff: httpx.AsyncClient) -> None:
        await shop.put("order_detail", *(an_order(f"o-{number}") for number in range(100)))

        async with _many(staff, 100, "/orders/o-{number}/stream") as readers:
            assert {await reader.order() for reader in readers} == {("1", "PAYMENT_WAITING", 1)}
            orders = shop.database[INSTANCES["order_detail"]]
            await orders.update_many({}, {"$set": {"version": 2, "status": "PREPARING"}})
            assert {await reader.order() for reader in readers} == {("2", "PREPARING", 2)}

    async def test_seats_are_bounded_and_given_back(self, query_settings: Settings, shop: Shop) -> None:
        await shop.put("order_detail", an_order())
        settings = query_settings.model_copy(update={"most_listeners": 2})
        async with _running(settings) as api, api.client("sam", "staff") as staff:
            async with streaming(staff, ORDER) as order, streaming(staff, SALES) as sold:
                await asyncio.gather(order.next(), sold.next())
                for path in (ORDER, SALES):
                    assert problem(await refusal(staff, path)) == (503, "too-many-listeners")
                assert (await staff.get("/orders/o-1")).status_code == 200
            await _listening(api, 0)
            async with streaming(staff, ORDER) as order:
                await order.next()
                assert (await refusal(staff, "/orders/none/stream")).status_code == 404
                assert api.listening == 1

    async def test_streams_end_with_the_process(self, query_settings: Settings, shop: Shop) -> None:
        await shop.put("order_detail", an_order())
        async with _running(query_settings) as api, api.client("sam", "staff") as staff:
            async with _many(staff, 25, ORDER) as orders, _many(staff, 25, SALES) as sums:
                readers = [*orders, *sums]
                await asyncio.gather(*(reader.next() for reader in readers))
                api.server.should_exit = True
                assert await asyncio.gather(*(reader.rest() for reader in readers)) == [[]] * 50
            await _listening(api, 0)

    async def test_streams_end_when_their_token_does(
        self, shop: Shop, staff: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await shop.put("order_detail", an_order())
        for module in ("order_stream", "sales_stream"):
            monkeypatch.setattr(f"query.{module}.time", lambda: time.time() + 3604.5)  # when an hour is almost over
        for path in (ORDER, SALES):
            async with streaming(staff, path) as reader:
                assert len(await reader.rest()) == 1

    async def test_an_outage_of_mongodb_is_outlasted_and_what_changed_meanwhile_is_told(
        self, wire: Wire, query_settings: Settings, shop: Shop
    ) -> None:
        await shop.put("order_detail", an_order())
        url = f"mongodb://127.0.0.1:{wire.port}/?directConnection=true"
        settings = query_settings.model_copy(update={"mongo_url": url})
        async with (
            _running(settings) as api,
            api.client("sam", "staff") as staff,
            streaming(staff, ORDER) as order,
            streaming(staff, SALES, **MARCH) as sold,
        ):
            await asyncio.gather(order.next(), sold.next())
            await wire.cut()
            await change(shop, 2, "PREPARING")
            await sell(shop, 11)
            assert problem(await refusal(staff, ORDER)) == (503, "unavailable")
            await wire.mend()
            assert await order.order() == ("2", "PREPARING", 2)
            await sold.sales_until(1)
            await change(shop, 3, "SHIPPED")
            await sell(shop, 12)
            assert await order.order() == ("3", "SHIPPED", 3)
            await sold.sales_until(2)

    async def test_who_reads_slowly_gets_the_newest_state_and_not_a_queue(
        self, shop: Shop, api: Served, staff: httpx.AsyncClient
    ) -> None:
        await shop.put("order_detail", an_order())
        # Each state is larger than what lies between a stream and a reader who does not read.
        step = {"event": "x" * 5_000_000, "at": PLACED_AT}

        async with staff.stream("GET", ORDER) as answer:
            lines = answer.aiter_lines()
            assert await anext(lines) == "id: 1"
            for version in range(2, 12):
                await change(shop, version, "PREPARING", timeline=[step])

            async def is_stuck() -> bool:
                connections = api.server.server_state.connections
                return any(one.flow.write_paused for one in connections)  # type: ignore[union-attr]

            await until(is_stuck, "a full socket")
            await change(shop, 12, "SHIPPED", timeline=[])
            ids = []
            async with asyncio.timeout(60):
                async for line in lines:
                    if line.startswith("id: "):
                        ids.append(int(line[4:]))
                    if ids and ids[-1] == 12:
                        break
        assert ids == sorted(ids)
        assert len(ids) < 11, "it was sent every state"


async def _stored(shop: Shop) -> dict[str, Any]:
    found: dict[str, Any] | None = await shop.database[INSTANCES["order_detail"]].find_one({"_id": "o-1"})
    assert found is not None
    return found


async def _listening(api: Served, count: int) -> None:
    async def are_listening() -> bool:
        return api.listening == count

    await until(are_listening, f"{count} listeners")


@asynccontextmanager
async def _many(client: httpx.AsyncClient, count: int, path: str, **query: Any) -> AsyncIterator[list[Reader]]:
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(streaming(client, path.format(number=number), **query))
            for number in range(count)
        ]
