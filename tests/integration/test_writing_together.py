"""Views that write together: one commit for all, and what goes wrong is found by the one whose it is, and nobody else.

The judge of the middle tests is shown to see planted bugs.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pymongo import InsertOne
from pymongo.client_session import ClientSession
from pymongo.errors import AutoReconnect, PyMongoError

from projector.failures import FailurePolicy, GuardFailed, is_refusal
from projector.folding import Folded, folder_of
from projector.store import CHECKPOINTS, Checkpoint, ViewStore
from projector.together import Small, Together
from runtime.settings import Settings
from tests.instances import MEMBER_PROFILE, ORDER_DETAIL, PRODUCT_CATALOG, SALES_STATISTICS, instance
from tests.integration.projecting import ReadSide, a_read_side
from tests.unit.projector.memory import MemoryDocuments
from tests.unit.views.given import a_placed_order, numbered
from views import all_views
from views.kit import Calendar

POSTS = instance("posts")
INSTANCES = [MEMBER_PROFILE, ORDER_DETAIL, PRODUCT_CATALOG, SALES_STATISTICS, POSTS]
"""All but posts have something to write when an order is placed."""

Outcomes = dict[str, Checkpoint | BaseException]


class Writers:
    """A store for each of some views, with a batch of one placed order that is ready to be written."""

    def __init__(self, stores: list[ViewStore], checkpoints: list[Checkpoint], batches: list[Folded]) -> None:
        self.stores = {store.instance: store for store in stores}
        self.checkpoints = dict(zip(self.stores, checkpoints, strict=True))
        self.batches = dict(zip(self.stores, batches, strict=True))

    async def write(self) -> Outcomes:
        """All at the same moment."""
        writing = [self.stores[name].write(self.batches[name], self.checkpoints[name], 0) for name in self.stores]
        return dict(zip(self.stores, await asyncio.gather(*writing, return_exceptions=True), strict=True))


@pytest.fixture
async def read_side(settings: Settings) -> AsyncIterator[ReadSide]:
    """The views of this test."""
    async with a_read_side(settings) as read_side:
        yield read_side


@pytest.fixture
async def writers(read_side: ReadSide) -> AsyncIterator[Writers]:
    """Owners of five views."""
    async with owners(read_side) as writers:
        yield writers


@asynccontextmanager
async def owners(read_side: ReadSide) -> AsyncIterator[Writers]:
    """Those of five views, in epoch 1."""
    together = Together(read_side.database, CHECKPOINTS)
    with ThreadPoolExecutor(8) as threads:
        stores = [
            ViewStore(read_side.database, all_views()[name.split(".")[0]], name, threads, together=together)
            for name in INSTANCES
        ]
        checkpoints = [await store.prepare(1) for store in stores]
        yield Writers(stores, checkpoints, [await a_batch(store) for store in stores])


async def a_batch(store: ViewStore) -> Folded:
    """What one placed order does to the view."""
    folder = folder_of(store.view, FailurePolicy(1), Calendar(ZoneInfo("UTC")))
    return await folder.fold(numbered(a_placed_order()), MemoryDocuments())


@pytest.fixture
def commits(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """One for each transaction that was committed."""
    counted: list[None] = []
    commit = ClientSession.commit_transaction

    def counting(session: ClientSession) -> None:
        commit(session)
        counted.append(None)

    monkeypatch.setattr(ClientSession, "commit_transaction", counting)
    return counted


async def test_views_that_write_at_the_same_moment_share_one_commit(
    writers: Writers, read_side: ReadSide, commits: list[None]
) -> None:
    assert await writers.write() == dict.fromkeys(INSTANCES, Checkpoint(1, None))

    assert len(commits) == 1
    assert {one["_id"]: one["position"] for one in (await read_side.checkpoints()).values()} == dict.fromkeys(
        INSTANCES, 1
    )
    assert {name: len(await read_side.documents(name)) > 0 for name in INSTANCES} == {
        name: name != POSTS for name in INSTANCES
    }


async def test_a_large_batch_holds_up_no_small_one(
    writers: Writers, commits: list[None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("projector.store.MOST_WRITES", 1)  # statistics count an order in several documents

    assert len(writers.batches[SALES_STATISTICS].writes) > 1
    assert await writers.write() == dict.fromkeys(INSTANCES, Checkpoint(1, None))
    assert len(commits) == 2


async def wrong_after(writers: Writers, read_side: ReadSide, owner: str, stands_at: int) -> list[str]:
    """What is wrong after a write of all, where ``owner`` has lost its guard: found by it alone, all others written."""
    wrong = []
    outcomes = await writers.write()
    for name, outcome in outcomes.items():
        position = (await read_side.checkpoints())[name]["position"]
        documents = await read_side.documents(name)
        if name == owner:
            if not isinstance(outcome, GuardFailed):
                wrong.append(f"{name} has not heard of it: {outcome!r}")
            if position != stands_at or documents:
                wrong.append(f"{name} was written")
        elif outcome != Checkpoint(1, None) or position != 1 or bool(documents) != (name != POSTS):
            wrong.append(f"{name} was not written: {outcome!r}")
    return wrong


LOST: list[dict[str, Any]] = [{"epoch": 2}, {"position": 7}, {"unparked": 1}]


@pytest.mark.parametrize("owner", [ORDER_DETAIL, POSTS])
@pytest.mark.parametrize("lost", LOST, ids=[*(next(iter(lost)) for lost in LOST)])
async def test_a_lost_guard_is_found_by_its_owner_alone_and_holds_up_nobody(
    writers: Writers, read_side: ReadSide, owner: str, lost: dict[str, Any]
) -> None:
    await read_side.database[CHECKPOINTS].update_one({"_id": owner}, {"$set": lost})

    assert await wrong_after(writers, read_side, owner, lost.get("position", 0)) == []


def guards_are_not_counted(self: Together, batch: Sequence[Small], session: ClientSession) -> None:
    """A planted bug: whether all guards held is not asked."""
    for one in batch:
        self._database[CHECKPOINTS].update_one(one.guard, {"$set": one.moved}, session=session)
    self._write_documents(batch, session)


def everybody_is_told_of_success(self: Together, batch: Sequence[Small]) -> None:
    """A planted bug: nothing was written, and nobody hears of it."""
    with self._client.start_session() as session, session.start_transaction():
        try:
            self._apply(batch, session)
        except Exception:
            session.abort_transaction()
    for one in batch:
        one.is_written = True


def everybody_fails_with_one(self: Together, batch: Sequence[Small]) -> None:
    """A planted bug: the failure of one is told to all."""
    with self._client.start_session() as session, session.start_transaction():
        try:
            self._apply(batch, session)
        except Exception as error:
            raise GuardFailed from error


def the_others_are_written_without_a_guard(self: Together, batch: Sequence[Small]) -> None:
    """A planted bug: what is written after a failure is written whoever is the owner."""
    with self._client.start_session() as session, session.start_transaction():
        for one in batch:
            self._database[CHECKPOINTS].update_one({"_id": one.guard["_id"]}, {"$set": one.moved}, session=session)
        self._write_documents(batch, session)
    for one in batch:
        one.is_written = True


@pytest.mark.parametrize(
    ("method", "bug"),
    [
        ("_apply", guards_are_not_counted),
        ("_write", everybody_is_told_of_success),
        ("_write", everybody_fails_with_one),
        ("_write", the_others_are_written_without_a_guard),
    ],
)
async def test_the_judge_of_lost_guards_sees_a_planted_bug(
    read_side: ReadSide, monkeypatch: pytest.MonkeyPatch, method: str, bug: Callable[..., None]
) -> None:
    monkeypatch.setattr(Together, method, bug)
    async with owners(read_side) as writers:
        await read_side.database[CHECKPOINTS].update_one({"_id": ORDER_DETAIL}, {"$set": {"epoch": 2}})

        assert await wrong_after(writers, read_side, ORDER_DETAIL, 0) != []


async def test_a_document_that_is_refused_fails_its_own_view_alone(writers: Writers, read_side: ReadSide) -> None:
    writers.batches[ORDER_DETAIL].writes = [InsertOne({"_id": "o-1", "text": "x" * 17 * 2**20})]

    outcomes = await writers.write()

    refused = outcomes.pop(ORDER_DETAIL)
    assert isinstance(refused, Exception)
    assert is_refusal(refused)
    assert outcomes == {name: Checkpoint(1, None) for name in INSTANCES if name != ORDER_DETAIL}
    assert (await read_side.checkpoints())[ORDER_DETAIL]["position"] == 0


async def test_a_document_that_stands_where_none_should_is_replaced(writers: Writers, read_side: ReadSide) -> None:
    await read_side.database[ORDER_DETAIL].insert_one({"_id": "o-1", "left_by": "a restored backup"})

    assert await writers.write() == dict.fromkeys(INSTANCES, Checkpoint(1, None))
    assert (await read_side.documents(ORDER_DETAIL))["o-1"]["status"] == "PAYMENT_WAITING"


@pytest.mark.parametrize("locked", [ORDER_DETAIL, POSTS])
async def test_who_has_to_wait_for_a_lock_keeps_nobody_waiting(
    writers: Writers, read_side: ReadSide, locked: str
) -> None:
    async with await read_side.database.client.start_session() as session:
        session.start_transaction()
        await read_side.database[CHECKPOINTS].update_one({"_id": locked}, {"$set": {"bulk": None}}, session=session)
        waiting = writers.stores.pop(locked)
        write = asyncio.create_task(waiting.write(writers.batches[locked], writers.checkpoints[locked], 0))
        async with asyncio.timeout(8):  # less than the server lets a transaction be open
            others = await writers.write()
        await session.abort_transaction()

    assert others == {name: Checkpoint(1, None) for name in INSTANCES if name != locked}
    try:
        assert await write == Checkpoint(1, None)
    except PyMongoError as error:  # it met the lock in a transaction of its own, and will begin again
        assert error.has_error_label("TransientTransactionError")  # noqa: PT017


async def test_after_a_lost_answer_everybody_looks_and_nobody_writes_again(
    writers: Writers, read_side: ReadSide, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = ClientSession.commit_transaction

    def lost(session: ClientSession) -> None:
        commit(session)
        raise AutoReconnect("connection closed")

    monkeypatch.setattr(ClientSession, "commit_transaction", lost)
    outcomes = await writers.write()

    assert {name: type(outcome) for name, outcome in outcomes.items()} == dict.fromkeys(INSTANCES, AutoReconnect)
    assert [await store.prepare(1) for store in writers.stores.values()] == [Checkpoint(1, None)] * len(INSTANCES)
    counted = (await read_side.documents(SALES_STATISTICS)).values()
    assert {one["placed_orders"] for one in counted if "placed_orders" in one} == {1}


async def test_while_mongodb_is_away_everybody_hears_of_it_at_once(
    writers: Writers, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise AutoReconnect("connection closed")

    def alone(*_: object) -> None:
        raise AssertionError("tried again")

    monkeypatch.setattr(Together, "_apply", away)
    monkeypatch.setattr(ViewStore, "_transact", alone)

    outcomes = await writers.write()

    assert {name: type(outcome) for name, outcome in outcomes.items()} == dict.fromkeys(INSTANCES, AutoReconnect)
