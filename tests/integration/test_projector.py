"""The projector between a real Postgres and a real MongoDB: every event takes effect exactly once."""

import asyncio
import random
import sys
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from pymongo.errors import AutoReconnect
from sqlalchemy import text

from events.envelope import DomainEvent, Envelope
from events.members import MemberRegistered
from events.ordering import OrderPaid
from eventstore import PendingEvent, append
from projector.abandoned import APP_NAME, end_abandoned_transactions
from projector.daemon import Daemon
from projector.failures import DeadLetter, FailurePolicy, GuardFailed
from projector.folding import Folded, folder_of
from projector.store import Checkpoint, ViewStore
from projector.together import Together
from runtime.clock import now
from runtime.consistency import Snapshot
from runtime.settings import Settings
from tests.instances import MEMBER_PROFILE, ORDER_DETAIL, SALES_STATISTICS, instance
from tests.integration.projecting import (
    ReadSide,
    Shop,
    a_read_side,
    a_shop,
    logged_facts,
    projecting,
    same_facts,
    until,
)
from tests.oracle.views import differences, expected_views
from tests.unit.projector.memory import MemoryDocuments
from tests.unit.views.given import MOMENT, a_placed_order, numbered
from views import all_views, order_detail, product_catalog, sales_statistics
from views.kit import Calendar


@pytest.fixture
async def shop(postgres_url: str) -> AsyncIterator[Shop]:
    """An opened shop."""
    async with a_shop(postgres_url) as shop:
        yield shop


@pytest.fixture
async def read_side(settings: Settings) -> AsyncIterator[ReadSide]:
    """The views of this test."""
    async with a_read_side(settings) as read_side:
        yield read_side


async def all_adds_up(shop: Shop, read_side: ReadSide) -> None:
    """The log is what was acknowledged, and every view is what an independent count of it says."""
    await read_side.reached(len(shop.acknowledged))
    assert same_facts(await logged_facts(shop.url), shop.acknowledged)
    assert differences(await read_side.views(), expected_views(shop.acknowledged)) == []
    assert await read_side.dead_letters() == []


async def trade(shop: Shop, seed: int, *, writers: int = 4, orders: int = 8) -> None:
    """Several writers at once, each with a few orders, and some who count the stock meanwhile."""

    async def write(chance: random.Random) -> None:
        for _ in range(orders):
            await shop.some_order(chance)
            await shop.adjust_stock("p-0", chance.randint(1, 9))

    await asyncio.gather(*(write(random.Random(seed + number)) for number in range(writers)))


async def test_every_event_takes_effect_once_while_it_happens(
    shop: Shop, read_side: ReadSide, settings: Settings
) -> None:
    async with projecting(settings):
        await trade(shop, seed=1)
        await all_adds_up(shop, read_side)


async def test_a_restart_continues_where_the_last_process_stopped(
    shop: Shop, read_side: ReadSide, settings: Settings
) -> None:
    for round_number in range(3):
        await trade(shop, seed=10 * round_number, writers=2, orders=4)
        async with projecting(settings):
            await trade(shop, seed=100 + round_number, writers=2, orders=2)
    async with projecting(settings):
        await all_adds_up(shop, read_side)


async def test_two_projectors_at_once_are_still_exactly_once(
    shop: Shop, read_side: ReadSide, settings: Settings
) -> None:
    async with projecting(settings), projecting(settings):
        await trade(shop, seed=2)
        await all_adds_up(shop, read_side)


async def test_a_backlog_is_caught_up_with_in_many_small_batches(
    shop: Shop, read_side: ReadSide, settings: Settings
) -> None:
    await trade(shop, seed=3)

    async with projecting(settings.model_copy(update={"batch_limit": 7})):
        await all_adds_up(shop, read_side)


@pytest.mark.parametrize("lost", ["before", "after"])
async def test_a_connection_lost_around_the_commit_neither_loses_nor_doubles_an_effect(
    shop: Shop, read_side: ReadSide, settings: Settings, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    chance = random.Random(4)

    def unreliable(write: Callable[..., None]) -> Callable[..., None]:
        def unreliably(*arguments: Any) -> None:
            unlucky = chance.random() < 0.4
            if unlucky and lost == "before":
                raise AutoReconnect("connection closed")
            write(*arguments)
            if unlucky:
                raise AutoReconnect("connection closed")

        return unreliably

    monkeypatch.setattr(ViewStore, "_transact", unreliable(ViewStore._transact))
    monkeypatch.setattr(Together, "_write", unreliable(Together._write))
    async with projecting(settings.model_copy(update={"batch_limit": 20})):
        await trade(shop, seed=5, writers=2)
        await all_adds_up(shop, read_side)


async def test_an_event_that_committed_late_is_not_skipped_and_not_claimed_before(
    shop: Shop, read_side: ReadSide, settings: Settings
) -> None:
    async with projecting(settings), shop.engine.connect() as late:
        late_id = await append(late, [a_registration("late")])
        async with shop.engine.connect() as soon:
            soon_id = await append(soon, [a_registration("soon")])
            await soon.commit()

        await until(lambda: sees(read_side, soon_id), "the one that committed first")
        assert soon_id > late_id
        assert not await sees(read_side, late_id)
        assert "late" not in await read_side.documents(MEMBER_PROFILE)

        await late.commit()
        await until(lambda: sees(read_side, late_id), "the one that committed late")
        assert {"soon", "late"} <= (await read_side.documents(MEMBER_PROFILE)).keys()


async def test_a_checkpoint_sees_a_transaction_exactly_when_its_effect_is_there(
    shop: Shop, read_side: ReadSide, settings: Settings
) -> None:
    async def register(number: int) -> None:
        chance = random.Random(number)
        async with shop.engine.connect() as connection:
            transaction_id = await append(connection, [a_registration(f"x-{number}")])
            for _ in range(chance.randrange(8)):  # the others commit meanwhile, also those that began later
                await connection.execute(text("SELECT 1"))
            await (connection.rollback() if number % 5 == 0 else connection.commit())
        await until(lambda: sees(read_side, transaction_id), f"transaction {transaction_id}")
        effect = await read_side.database[MEMBER_PROFILE].find_one({"_id": f"x-{number}"})
        assert (effect is None) == (number % 5 == 0)

    async with projecting(settings):
        await asyncio.gather(*(register(number) for number in range(60)), trade(shop, seed=6))


async def sees(read_side: ReadSide, transaction_id: int) -> bool:
    """Whether every view claims to include this transaction."""
    snapshots = [one["snapshot"] for one in (await read_side.checkpoints()).values()]
    assert len(snapshots) <= len(all_views())
    return len(snapshots) == len(all_views()) and all(
        one is not None and Snapshot.parse(one).sees(transaction_id) for one in snapshots
    )


def a_registration(member_id: str) -> PendingEvent:
    """Somebody signs up."""
    return PendingEvent(member_id, 1, MOMENT, MemberRegistered(email=f"{member_id}@example.org", name=member_id))


async def test_what_a_killed_projector_left_open_is_ended_and_not_waited_for(
    shop: Shop, read_side: ReadSide, settings: Settings
) -> None:
    with ThreadPoolExecutor(2) as threads:
        await ViewStore(read_side.database, order_detail.view, ORDER_DETAIL, threads).prepare(1)
    killed = await an_open_transaction(settings)
    killed.kill()
    await killed.wait()

    async with projecting(settings):
        # Unasked, MongoDB would keep it for `transactionLifetimeLimitSeconds`: 10 in the tests, else 60.
        async with asyncio.timeout(8):
            await all_adds_up(shop, read_side)


async def test_a_transaction_of_a_living_projector_is_left_alone_however_long_it_is_idle(
    read_side: ReadSide, settings: Settings
) -> None:
    alive = await an_open_transaction(settings)
    await asyncio.sleep(0.5)

    assert await end_abandoned_transactions(read_side.database) == 0

    assert (await alive.communicate(b"commit"))[0] == b"committed\n"
    assert (await read_side.checkpoints())[ORDER_DETAIL]["position"] == 7


async def an_open_transaction(settings: Settings) -> asyncio.subprocess.Process:
    """A process that has moved a checkpoint, and commits that when it is told to."""
    program = f"""
from pymongo import MongoClient
with MongoClient({settings.mongo_url!r}, appname={APP_NAME!r}) as client, client.start_session() as session:
    session.start_transaction()
    checkpoints = client[{settings.mongo_database!r}]["checkpoints"]
    checkpoints.update_one({{"_id": {ORDER_DETAIL!r}}}, {{"$set": {{"position": 7}}}}, upsert=True, session=session)
    print("open", flush=True)
    input()
    session.commit_transaction()
    print("committed")
"""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdin=pipe, stdout=pipe)
    assert process.stdout is not None
    assert await process.stdout.readline() == b"open\n"
    return process


@pytest.mark.parametrize("what", ["documents", "dead letters", "position alone"])
async def test_a_guard_that_fails_writes_nothing(read_side: ReadSide, what: str) -> None:
    with ThreadPoolExecutor(2) as threads:
        store = ViewStore(read_side.database, order_detail.view, ORDER_DETAIL, threads)
        checkpoint = await store.prepare(1)
        folded = await a_folded_batch()
        if what != "documents":
            folded.writes = []
        if what == "dead letters":
            folded.dead_letters = [a_dead_letter()]

        with pytest.raises(GuardFailed):
            await store.write(folded, Checkpoint(checkpoint.position + 1, None), 1)

    assert (await read_side.checkpoints())[ORDER_DETAIL]["position"] == 0
    assert await read_side.documents(ORDER_DETAIL) == {}
    assert await read_side.dead_letters() == []


async def test_the_same_batch_cannot_be_written_twice(read_side: ReadSide) -> None:
    with ThreadPoolExecutor(2) as threads:
        store = ViewStore(read_side.database, order_detail.view, ORDER_DETAIL, threads)
        checkpoint, folded = await store.prepare(1), await a_folded_batch()
        await store.write(folded, checkpoint, 0)
        with pytest.raises(GuardFailed):
            await store.write(folded, checkpoint, 0)

        assert await store.prepare(1) == Checkpoint(1, None)


async def test_what_is_written_with_a_dead_letter_is_written_together(read_side: ReadSide) -> None:
    with ThreadPoolExecutor(2) as threads:
        store = ViewStore(read_side.database, order_detail.view, ORDER_DETAIL, threads)
        checkpoint, folded = await store.prepare(1), await a_folded_batch()
        folded.dead_letters = [a_dead_letter()]
        await store.write(folded, checkpoint, 1)
        assert await store.letters.aggregates() == {("order", "o-1")}

    assert (await read_side.documents(ORDER_DETAIL))["o-1"]["_parked"] is True
    assert [letter["position"] for letter in await read_side.dead_letters()] == [1]
    assert (await read_side.checkpoints())[ORDER_DETAIL]["parked_sequences"] == 1


async def a_folded_batch() -> Folded:
    """One placed order, ready to be written."""
    folder = folder_of(order_detail.view, FailurePolicy(1), Calendar(ZoneInfo("UTC")))
    return await folder.fold(numbered(a_placed_order()), MemoryDocuments())


def a_dead_letter() -> DeadLetter:
    """That order's event, parked."""
    envelope = numbered(a_placed_order())[0]
    return DeadLetter(
        envelope=envelope, error="ValueError", traceback="", attempts=3, state="failed", documents=("o-1",)
    )


async def test_a_document_that_stands_where_an_insert_was_expected_is_replaced(
    shop: Shop, read_side: ReadSide, settings: Settings
) -> None:
    orders = [await shop.place() for _ in range(3)]
    await read_side.database[ORDER_DETAIL].insert_one({"_id": orders[1], "left_by": "a restored backup"})

    async with projecting(settings):
        await all_adds_up(shop, read_side)


async def test_it_is_replaced_too_where_the_same_batch_changes_other_documents(
    shop: Shop, read_side: ReadSide, settings: Settings
) -> None:
    known = await shop.place()
    async with projecting(settings):
        await read_side.reached(len(shop.acknowledged))
    await shop.redirect(known)
    left = await shop.place()
    await shop.redirect(await shop.place())
    await read_side.database[ORDER_DETAIL].insert_one({"_id": left, "left_by": "a restored backup"})

    async with projecting(settings):
        await all_adds_up(shop, read_side)


async def test_one_poisoned_event_among_thousands_parks_its_order_in_that_view_alone(
    shop: Shop, read_side: ReadSide, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders = await many_paid_orders(shop, 1_200)
    poisoned = orders[700]
    await shop.deliver(poisoned)
    poison(monkeypatch, order_detail.view.folds, OrderPaid, (None, raising_for(poisoned, order_detail.pay)))

    async with projecting(settings):
        await read_side.reached(len(shop.acknowledged))

    found, expected = await read_side.views(), expected_views(shop.acknowledged)
    half = found["order_detail"].pop(poisoned)
    assert expected["order_detail"].pop(poisoned)["version"] == 6
    assert differences(found, expected) == []
    assert (half["status"], half["version"], half["_parked"]) == ("PAYMENT_WAITING", 2, True)
    parked = {name: one["parked_sequences"] for name, one in (await read_side.checkpoints()).items()}
    assert parked == {instance(view): int(view == "order_detail") for view in all_views()}
    assert [
        (letter["projection"], letter["aggregate_id"], letter["event_type"], letter["state"], letter["attempts"])
        for letter in await read_side.dead_letters()
    ] == [
        ("order_detail", poisoned, "OrderPaid", "failed", 3),
        ("order_detail", poisoned, "ShippingStarted", "waiting", 0),
        ("order_detail", poisoned, "DeliveryStarted", "waiting", 0),
        ("order_detail", poisoned, "DeliveryCompleted", "waiting", 0),
    ]


async def test_a_poisoned_event_in_a_view_of_counters_counts_nowhere_and_stops_nothing_else(
    shop: Shop, read_side: ReadSide, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    poisoned, fine = await shop.place(), await shop.place(("p-1", 3))
    for order_id in (poisoned, fine):
        await shop.pay(order_id)
        await shop.cancel(order_id)
    contributions = sales_statistics.view.contributions
    poison(monkeypatch, contributions, OrderPaid, raising_for(poisoned, sales_statistics.pay))

    async with projecting(settings):
        await read_side.reached(len(shop.acknowledged))

    # The order was placed before: that much counts. Its payment, and its cancellation after it, wait.
    counted = [fact for fact in shop.acknowledged if fact.id != poisoned or fact.name == "OrderPlaced"]
    found = await read_side.views()
    expected = expected_views(shop.acknowledged) | {
        "sales_statistics": expected_views(counted)["sales_statistics"],
    }
    assert differences(found, expected) == []
    assert [(one["event_type"], one["state"]) for one in await read_side.dead_letters()] == [
        ("OrderPaid", "failed"),
        ("OrderCanceled", "waiting"),
    ]


async def test_what_is_parked_stays_parked_over_a_restart_though_the_fold_works_again(
    shop: Shop, read_side: ReadSide, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    order_id = await shop.place()
    await shop.pay(order_id)
    with monkeypatch.context() as broken:
        poison(broken, order_detail.view.folds, OrderPaid, (None, raising_for(order_id, order_detail.pay)))
        async with projecting(settings):
            await read_side.reached(len(shop.acknowledged))

    await shop.cancel(order_id)
    async with projecting(settings) as daemon:
        await read_side.reached(len(shop.acknowledged))
        statuses = {one["name"]: one["parked_sequences"] for one in statuses_of(daemon)}

    assert statuses["order_detail"] == 1
    assert [letter["state"] for letter in await read_side.dead_letters()] == ["failed", "waiting", "waiting"]
    assert (await read_side.documents(ORDER_DETAIL))[order_id]["status"] == "PAYMENT_WAITING"


async def test_a_bug_that_hits_every_order_does_not_stop_the_views_for_hours(
    shop: Shop, read_side: ReadSide, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders = await many_paid_orders(shop, 100)
    broken = raising_for(None, order_detail.pay)
    poison(monkeypatch, order_detail.view.folds, OrderPaid, (None, broken))

    async with projecting(settings):
        await read_side.reached(len(shop.acknowledged))

    assert len(await read_side.dead_letters()) == len(orders)
    assert (await read_side.checkpoints())[ORDER_DETAIL]["parked_sequences"] == len(orders)


def raising_for(order_id: str | None, fold: Callable[..., Any]) -> Callable[..., Any]:
    """A fold, or contribution, that cannot stand one order (``None``: any)."""

    def fails(*arguments: Any) -> Any:
        envelope = next(one for one in arguments if isinstance(one, Envelope))
        if order_id in (None, envelope.aggregate_id):
            raise ValueError("no such step")
        return fold(*arguments)

    return fails


def poison(
    monkeypatch: pytest.MonkeyPatch, folds: dict[type[DomainEvent], Any], event: type[DomainEvent], by: Any
) -> None:
    """Let this view fold such an event so."""
    monkeypatch.setitem(folds, event, by)


def statuses_of(daemon: Daemon) -> list[dict[str, Any]]:
    """What the daemon says of its projections."""
    return [runner.status() for runner in daemon.runners]


async def many_paid_orders(shop: Shop, count: int) -> list[str]:
    """Paid orders, many in one transaction, as an import makes them."""
    from command.ordering.model import Order
    from command.ordering.storage import Orders
    from command.unit_of_work import Handlers, UnitOfWork
    from tests.builders import a_line, an_order

    made: list[Order] = []
    async with shop.engine.connect() as connection:
        uow = UnitOfWork(connection, Handlers())
        for number in range(count):
            order = an_order(str(uuid4()), a_line(f"p-{number % 50}", quantity=1 + number % 3))
            order.request_payment(str(uuid4()), method="card", at=now())
            order.approve_payment(at=now())
            uow.repository(Orders).add(order)
            made.append(order)
        await uow.commit()
    for order in made:
        shop.note(order)
    return [order.id for order in made]


async def test_an_event_of_a_type_that_nobody_declares_is_kept_and_skipped(
    shop: Shop, read_side: ReadSide, settings: Settings
) -> None:
    order_id = await shop.place()
    await shop.raw_event(order_id, 2, "OrderGiftWrapped", '{"paper": "red"}')
    async with projecting(settings):
        await read_side.reached(len(shop.acknowledged) + 1)

    logged = await logged_facts(shop.url)
    assert [fact.name for fact in logged if fact.id == order_id] == ["OrderPlaced", "OrderGiftWrapped"]
    assert differences(await read_side.views(), expected_views(shop.acknowledged)) == []
    assert await read_side.dead_letters() == []


async def test_a_payload_that_is_not_of_its_type_parks_its_order_where_it_is_wanted_alone(
    shop: Shop, read_side: ReadSide, settings: Settings
) -> None:
    order_id = await shop.place()
    await shop.raw_event(order_id, 2, "OrderPaid", '{"payment_id": 5}')
    async with projecting(settings):
        await read_side.reached(len(shop.acknowledged) + 1)

    letters = await read_side.dead_letters()
    wanting = {name for name, view in all_views().items() if OrderPaid in view.event_types}
    assert sorted(letter["projection"] for letter in letters) == sorted(wanting)
    assert all("payment_id" in letter["error"] for letter in letters)
    assert product_catalog.view.name not in wanting


async def test_another_business_time_zone_is_built_beside_the_old_one_and_then_served(
    shop: Shop, read_side: ReadSide, settings: Settings
) -> None:
    await trade(shop, seed=7, writers=2)
    async with projecting(settings):
        await all_adds_up(shop, read_side)
    old = await read_side.documents(SALES_STATISTICS)

    async with projecting(settings.model_copy(update={"time_zone": "Asia/Seoul", "batch_limit": 5})):
        await until(lambda: serves(read_side, "sales_statistics.v1.Asia-Seoul"), "the new instance")
        # Served: so it is complete already now, and the old one still is what it was.
        in_seoul = expected_views(shop.acknowledged, zone="Asia/Seoul")
        assert differences(await read_side.views(), in_seoul) == []
        assert await read_side.documents(SALES_STATISTICS) == old
        zones = {instance: one["time_zone"] for instance, one in (await read_side.checkpoints()).items()}
        assert (zones[SALES_STATISTICS], zones["sales_statistics.v1.Asia-Seoul"]) == ("UTC", "Asia/Seoul")

    async with projecting(settings):
        await trade(shop, seed=8, writers=1, orders=2)
        await until(lambda: serves(read_side, SALES_STATISTICS), "the old instance again")
        await all_adds_up_at_home(shop, read_side)


async def serves(read_side: ReadSide, instance: str) -> bool:
    """Whether this instance of the statistics is served."""
    return (await read_side.active()).get("sales_statistics") == instance


async def all_adds_up_at_home(shop: Shop, read_side: ReadSide) -> None:
    """As `all_adds_up`, while an instance of another zone lies idle."""

    async def is_reached() -> bool:
        checkpoints = await read_side.checkpoints()
        checkpoints.pop("sales_statistics.v1.Asia-Seoul")
        return all(one["position"] >= len(shop.acknowledged) for one in checkpoints.values())

    await until(is_reached, "every view")
    assert differences(await read_side.views(), expected_views(shop.acknowledged)) == []


async def test_the_log_stands_in_the_registry_for_those_who_know_no_postgres(
    shop: Shop, read_side: ReadSide, settings: Settings
) -> None:
    async def is_there() -> bool:
        found = await read_side.database["registry"].find_one({"_id": "$log"})
        return found is not None and bool(found["head"] == len(shop.acknowledged))

    async with projecting(settings):
        await until(is_there, "a heartbeat")
        log = await read_side.database["registry"].find_one({"_id": "$log"})

    assert log is not None
    assert (log["currency"], log["time_zone"]) == ("USD", "UTC")
    assert log["samples"][-1][0] == log["head"]


async def test_a_projector_says_where_each_projection_stands(
    shop: Shop, read_side: ReadSide, settings: Settings
) -> None:
    async with projecting(settings) as daemon:
        await all_adds_up(shop, read_side)
        await daemon.postgres_works()
        await daemon.mongo_works()
        await daemon.projections_work()

        assert statuses_of(daemon) == [
            {
                "name": name,
                "version": view.version,
                "state": "active",
                "health": "idle",
                "epoch": 1,
                "trouble": None,
                "instance": instance(name),
                "position": len(shop.acknowledged),
                "head": len(shop.acknowledged),
                "lag_events": 0,
                "lag_seconds": 0.0,
                "parked_sequences": 0,
            }
            for name, view in all_views().items()
        ]


def test_the_views_that_these_tests_count_are_views() -> None:
    assert expected_views([]).keys() <= all_views().keys()
