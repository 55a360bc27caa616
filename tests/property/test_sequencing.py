"""Sequencing, whatever the order of commits: nothing skipped, positions without gaps, no aggregate reordered.

The same machine is run against feeds with planted bugs, and must find them: a test that cannot fail proves nothing.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack
from typing import Any, TypeVar

import asyncpg
import pytest
import uvloop
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample

from eventstore import sequencer
from runtime.postgres import make_engine
from tests.property.interleaving import (
    RESET,
    SCHEDULE,
    WRITERS,
    ByLastOutboxId,
    ByTransactionId,
    Feed,
    Outcome,
    SequencedFeed,
    Step,
    interleaved,
)

T = TypeVar("T")

EVERY_INTERLEAVING = settings(
    max_examples=150,
    deadline=None,
    # One database for all examples of a test: the machine empties it before each.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
UNTIL_FOUND = settings(max_examples=1_000, deadline=None, phases=[Phase.generate], database=None)

BATCH_LIMITS = st.sampled_from((1, 2, 3, 2_000))


class Machine:
    """A database, the writers' connections, and a loop of its own, kept over all examples of a test."""

    def __init__(self, url: str, runner: asyncio.Runner) -> None:
        self._url = url
        self._runner = runner
        self._engine = make_engine(url, "test writers", pool_size=WRITERS)
        self._open = AsyncExitStack()
        self._connections: Sequence[Any] = ()
        self.reader: Any = None

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run on the machine's loop."""
        return self._runner.run(work)

    async def start(self) -> None:
        """Connect."""
        self.reader = await asyncpg.connect(self._url)
        self._connections = [await self._open.enter_async_context(self._engine.connect()) for _ in range(WRITERS)]

    async def stop(self) -> None:
        """Disconnect."""
        await self._open.aclose()
        await self._engine.dispose()
        await self.reader.close()

    def outcome(self, feed: Feed, schedule: Sequence[Step]) -> Outcome:
        """What the feed makes of the schedule, from an empty database."""

        async def from_the_start() -> Outcome:
            await self.reader.execute(RESET)
            return await interleaved(self._connections, feed, schedule)

        return self.run(from_the_start())

    def sequenced(self, schedule: Sequence[Step], batch_limit: int, judge: Callable[..., Any]) -> Any:
        """Run the real feed, and ``judge(feed, outcome)`` before it is closed."""

        async def judged() -> Any:
            await self.reader.execute(RESET)
            feed = SequencedFeed(self._url, self.reader, batch_limit=batch_limit)
            try:
                return await judge(feed, await interleaved(self._connections, feed, schedule))
            finally:
                await feed.close()

        return self.run(judged())


@pytest.fixture
def machine(postgres_url: str) -> Iterator[Machine]:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        machine = Machine(postgres_url, runner)
        machine.run(machine.start())
        try:
            yield machine
        finally:
            machine.run(machine.stop())


async def faults_and_positions(feed: SequencedFeed, outcome: Outcome) -> tuple[set[str], list[int]]:
    return outcome.faults(), [row["position"] for row in await feed.log()]


async def claims_too_much(feed: SequencedFeed, outcome: Outcome) -> bool:
    return await feed.claims_too_much(outcome)


async def snapshots(feed: SequencedFeed, _: Outcome) -> list[str | None]:
    return [row["snapshot"] for row in await feed.log()]


@EVERY_INTERLEAVING
@given(schedule=SCHEDULE, batch_limit=BATCH_LIMITS)
def test_whatever_commits_when_nothing_is_skipped_or_reordered_and_positions_have_no_gap(
    machine: Machine, schedule: list[Step], batch_limit: int
) -> None:
    faults, positions = machine.sequenced(schedule, batch_limit, faults_and_positions)

    assert faults == set()
    assert positions == list(range(1, len(positions) + 1))


@EVERY_INTERLEAVING
@given(schedule=SCHEDULE, batch_limit=BATCH_LIMITS)
def test_a_snapshot_in_the_log_sees_a_transaction_only_with_all_its_events_at_or_below_it(
    machine: Machine, schedule: list[Step], batch_limit: int
) -> None:
    assert machine.sequenced(schedule, batch_limit, claims_too_much) is False


def test_a_batch_that_took_all_that_was_visible_says_so_on_its_last_event(machine: Machine) -> None:
    schedule: list[Step] = [("write", 0, "a"), ("write", 0, "b"), ("commit", 0, ""), ("read", 0, "")]

    marked = [snapshot is not None for snapshot in machine.sequenced(schedule, 2_000, snapshots)]

    assert marked == [False, True]


@pytest.mark.parametrize(
    ("planted", "fault"), [(ByLastOutboxId, "skipped"), (ByTransactionId, "reordered")], ids=["by last id", "by xid"]
)
def test_the_machine_finds_what_is_wrong_with_a_planted_feed(
    machine: Machine, planted: Callable[[Any], Feed], fault: str
) -> None:
    def is_caught(schedule: list[Step]) -> bool:
        return fault in machine.outcome(planted(machine.reader), schedule).faults()

    assert find(SCHEDULE, is_caught, settings=UNTIL_FOUND)


@pytest.mark.parametrize(
    ("right", "wrong", "judge"),
    [
        ("(SELECT count(*) FROM picked) < $2", "true", claims_too_much),
        ("row_number() OVER (ORDER BY id) AS position", "row_number() OVER (ORDER BY id DESC) AS position", None),
    ],
    ids=["every batch complete", "newest first"],
)
def test_the_machine_finds_what_is_wrong_with_a_planted_statement(
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
    right: str,
    wrong: str,
    judge: Callable[..., Any] | None,
) -> None:
    assert right in sequencer._MOVE
    monkeypatch.setattr(sequencer, "_MOVE", sequencer._MOVE.replace(right, wrong))

    async def reordered(_: SequencedFeed, outcome: Outcome) -> bool:
        return "reordered" in outcome.faults()

    def is_caught(case: tuple[list[Step], int]) -> bool:
        return bool(machine.sequenced(*case, judge or reordered))

    assert find(st.tuples(SCHEDULE, BATCH_LIMITS), is_caught, settings=UNTIL_FOUND)


def test_a_feed_without_a_fault_is_not_accused(machine: Machine) -> None:
    async def is_faulty(_: SequencedFeed, outcome: Outcome) -> bool:
        return bool(outcome.faults())

    def is_caught(schedule: list[Step]) -> bool:
        return bool(machine.sequenced(schedule, 2_000, is_faulty))

    with pytest.raises(NoSuchExample):
        find(SCHEDULE, is_caught, settings=settings(UNTIL_FOUND, max_examples=20))
