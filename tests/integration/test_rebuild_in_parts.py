"""A rebuild that several processes share: what holds in the middle of it, and after it was broken off."""

import random
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pymongo
import pytest
from pymongo import UpdateOne
from pymongo.errors import OperationFailure

from projector import bulk, indexes, progress
from projector.folding import Folded
from projector.registry import Entry, Registry
from projector.sharing import SHARING, Work
from projector.store import CHECKPOINTS, PARTS, ViewStore, part_id
from runtime.settings import Settings
from tests.instances import ORDER_DETAIL, SALES_STATISTICS
from tests.instances import instance as served_as
from tests.integration.projecting import ReadSide, Shop, a_read_side, a_shop, projecting, until
from tests.oracle.views import expected_views
from views import order_detail, sales_statistics
from views.kit import Index, Projection

ORDERS, SALES = f"{ORDER_DETAIL}.g2", f"{SALES_STATISTICS}.g2"


@pytest.fixture
async def read_side(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ReadSide]:
    """Where every rebuild is shared out, however short the log is."""
    monkeypatch.setattr(bulk, "WORTH_IT", 1)
    async with a_read_side(settings) as read_side:
        yield read_side


@pytest.fixture
async def shop(settings: Settings) -> AsyncIterator[Shop]:
    """With some orders."""
    chance = random.Random(12)
    async with a_shop(settings.postgres_url or "") as shop:
        for _ in range(20):
            await shop.some_order(chance)
        yield shop


async def rebuilt(read_side: ReadSide, view: str) -> Entry:
    """The entry of a view, once what was built is served."""
    registry = Registry(read_side.database)

    async def is_switched() -> bool:
        return (await registry.entry(view)).building is None

    await until(is_switched, f"{view} rebuilt")
    return await registry.entry(view)


async def declared(read_side: ReadSide, instance: str) -> bool:
    """Whether the collection has every index that its view declares."""
    standing = [one["key"] async for one in read_side.database[instance].list_indexes()]
    return all(dict(index.fields) in [dict(key) for key in standing] for index in order_detail.view.indexes)


async def test_indexes_are_made_when_all_is_loaded_and_before_anybody_reads(
    settings: Settings, shop: Shop, read_side: ReadSide, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, bool, bool]] = []
    make_all, switch = indexes.make_all, Registry.switch

    async def making(database: Any, view: Any, instance: str) -> None:
        if instance == ORDERS and not seen:
            loaded = await read_side.database[instance].count_documents({})
            position = (await read_side.checkpoints())[instance]["position"]
            seen.append(("made", loaded > 0 and position == 0, await declared(read_side, instance)))
        await make_all(database, view, instance)

    async def switching(self: Registry, entry: Entry, comparison: dict[str, Any] | None) -> None:
        seen.append(("switched", True, await declared(read_side, ORDERS)))
        await switch(self, entry, comparison)

    monkeypatch.setattr(indexes, "make_all", making)
    monkeypatch.setattr(Registry, "switch", switching)
    async with projecting(settings):
        await read_side.reached(len(shop.acknowledged))
        await Registry(read_side.database).request_rebuild("order_detail")
        await rebuilt(read_side, "order_detail")
    assert seen == [("made", True, False), ("switched", True, True)]


async def test_an_index_that_takes_longer_than_an_answer_may_is_waited_for(
    settings: Settings, read_side: ReadSide, monkeypatch: pytest.MonkeyPatch
) -> None:
    await read_side.database[ORDERS].insert_one({"_id": "o-1", "placed_at": "2026"})
    impatient = pymongo.timeout
    asked: list[float | None] = []

    def noted(seconds: float | None) -> Any:
        asked.append(seconds)
        return impatient(seconds)

    monkeypatch.setattr(pymongo, "timeout", noted)
    await indexes.make_all(read_side.database, order_detail.view, ORDERS)
    assert asked == [indexes._LONGEST_SECONDS]
    assert await declared(read_side, ORDERS)


async def test_an_index_that_refuses_documents_is_there_before_the_first_of_them(read_side: ReadSide) -> None:
    view = Projection(
        order_detail.OrderDetail,
        name="unique",
        version=1,
        indexes=(Index((("placed_at", 1),)), Index((("version", 1),), unique=True)),
    )
    with ThreadPoolExecutor(1) as threads:
        store = ViewStore(read_side.database, view, "unique.v1", threads)
        await store.prepare(1)
        assert set(await read_side.database["unique.v1"].index_information()) == {"_id_", "version_1"}
        await store.make_indexes()
    assert set(await read_side.database["unique.v1"].index_information()) == {"_id_", "placed_at_1", "version_1"}


async def test_documents_that_cannot_be_indexed_are_left_to_one_process(
    settings: Settings, shop: Shop, read_side: ReadSide, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_all, refused = indexes.make_all, 0

    async def refusing(database: Any, view: Any, instance: str) -> None:
        nonlocal refused
        loaded = instance == ORDERS and await read_side.database[instance].count_documents({})
        if loaded and not await declared(read_side, instance):
            refused += 1
            raise OperationFailure("cannot be indexed", code=2)
        await make_all(database, view, instance)

    monkeypatch.setattr(indexes, "make_all", refusing)
    async with projecting(settings):
        await read_side.reached(len(shop.acknowledged))
        await Registry(read_side.database).request_rebuild("order_detail")
        entry = await rebuilt(read_side, "order_detail")
    assert refused == 1
    assert entry.comparison is not None
    assert entry.comparison["different"] == 0
    assert await declared(read_side, ORDERS)


@pytest.mark.parametrize("view", ["order_detail", "sales_statistics"])
@pytest.mark.parametrize(
    "plan",
    [{"of": 2, "until": 30}, {"sharing": None}],
    ids=["begun by an earlier release", "killed while it was begun anew"],
)
async def test_what_was_shared_out_in_another_way_is_begun_anew(
    settings: Settings, shop: Shop, read_side: ReadSide, view: str, plan: dict[str, Any]
) -> None:
    instance, database = f"{served_as(view)}.g2", read_side.database
    async with projecting(settings):
        await read_side.reached(len(shop.acknowledged))
    served = await read_side.documents(served_as(view))
    # As far as it came: documents without all of their events, and a part that has folded these.
    await database[instance].insert_many(list(served.values()))
    common = {"epoch": 0, "snapshot": None, "unparked": None}
    await database[CHECKPOINTS].insert_one({"_id": instance, "position": 0, "bulk": plan, **common})
    await database[PARTS].insert_one({"_id": part_id(instance, 0), "position": 30, **common})
    await Registry(database).request_rebuild(view)
    async with projecting(settings):
        entry = await rebuilt(read_side, view)
        await read_side.reached(len(shop.acknowledged))
    assert entry.comparison == {"documents": len(served), "different": 0, "examples": []}
    assert await read_side.views() == expected_views(shop.acknowledged)


async def test_nobody_folds_upon_what_a_start_from_scratch_left_when_it_was_killed(
    settings: Settings, read_side: ReadSide, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = read_side.database
    plan = {"of": 2, "until": 30, "sharing": SHARING}
    await database[CHECKPOINTS].insert_one({"_id": SALES, "epoch": 1, "position": 0, "bulk": plan})
    await database[SALES].insert_one({"_id": "day|none|2026-11-21|", "placed_orders": 7})

    class Killed(BaseException):
        pass

    async def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(type(database[SALES]), "delete_many", killed)
        with pytest.raises(Killed):
            await bulk._start_over(database, SALES, 1)
    assert await bulk.is_begun(database, SALES)

    assert await bulk._plan(database, SALES, 60, 1) == {"of": bulk.workers(), "until": 60, "sharing": SHARING}
    assert await read_side.documents(SALES) == {}


async def test_counters_that_are_new_and_counters_that_stand_both_end_as_the_sum(read_side: ReadSide) -> None:
    first = {f"day|product|2026-11-21|p-{number}": {"units": 1} for number in range(300)}
    second = {f"day|product|2026-11-21|p-{number}": {"units": 2, "paid_orders": 1} for number in range(150, 450)}
    with ThreadPoolExecutor(1) as threads:
        store = ViewStore(read_side.database, sales_statistics.view, SALES, threads)
        reached = await store.write(_adding(1, first), await store.prepare(1), 0)
        await store.write(_adding(2, second), reached, 0)
    expected = {key: {"_id": key, **amounts} for key, amounts in first.items()}
    for key, amounts in second.items():
        held = expected.setdefault(key, {"_id": key})
        expected[key] = held | {field: held.get(field, 0) + amount for field, amount in amounts.items()}  # type: ignore[operator]
    assert await read_side.documents(SALES) == expected


async def test_progress_is_what_the_parts_have_done_of_theirs(read_side: ReadSide) -> None:
    works = [Work(0, 0, 500), Work(1, 500, 1_000)]
    with ThreadPoolExecutor(1) as threads:
        for work in works:
            await ViewStore(read_side.database, sales_statistics.view, SALES, threads, part=work).prepare(1)
    plan = {"of": 2, "until": 1_000, "sharing": SHARING}
    await read_side.database[CHECKPOINTS].insert_one({"_id": SALES, "position": 0, "bulk": plan})
    assert await progress.position_of(read_side.database, SALES) == 0
    await read_side.database[PARTS].update_one({"_id": part_id(SALES, 1)}, {"$set": {"position": 800}})
    assert await progress.position_of(read_side.database, SALES) == 300


def _adding(position: int, amounts: Mapping[str, Mapping[str, int]]) -> Folded:
    at = datetime.now(UTC)
    writes: list[Any] = [UpdateOne({"_id": key}, {"$inc": dict(added)}, upsert=True) for key, added in amounts.items()]
    return Folded(events=1, recorded=[at], position=position, snapshot=None, as_of=at, writes=writes, dead_letters=[])
