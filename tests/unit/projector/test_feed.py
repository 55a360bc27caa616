"""The feed: in order, without gaps, and every event read and decoded once for all projections."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from events import envelope as envelopes
from events.envelope import UnknownEvent
from events.members import MemberPasswordChanged
from eventstore.log import StoredEvent
from projector.feed import PostgresFeed, Undecodable
from tests.unit.projector.memory import MemoryLog, as_stored
from tests.unit.views.given import numbered


def a_log(length: int) -> MemoryLog:
    """A log of so many events of one member."""
    return MemoryLog([as_stored(one) for one in numbered(*[MemberPasswordChanged()] * length)])


async def a_feed(log: MemoryLog, *, chunk_size: int = 10) -> PostgresFeed:
    """A feed that has heard how far the log reaches."""
    feed = PostgresFeed(log, chunk_size=chunk_size)
    await feed.advance(len(log.stored))
    return feed


async def test_a_reader_sees_every_position_once_and_in_order() -> None:
    feed, seen = await a_feed(a_log(35)), [0]
    while batch := await feed.read(seen[-1]):
        seen += [one.position for one in batch]

    assert seen == list(range(36))


async def test_a_read_from_the_middle_ends_with_its_chunk() -> None:
    feed = await a_feed(a_log(35))

    assert [one.position for one in await feed.read(14)] == [15, 16, 17, 18, 19, 20]


async def test_projections_that_keep_pace_share_every_chunk() -> None:
    log = a_log(10)
    feed = await a_feed(log)

    batches = await asyncio.gather(*(feed.read(0) for _ in range(4)))

    assert log.asked == [(0, 10)]
    assert all(batch[3] is batches[0][3] for batch in batches)


async def test_a_chunk_is_filled_further_and_not_read_again() -> None:
    log = a_log(3)
    feed = await a_feed(log)
    await feed.read(0)
    log.stored = a_log(7).stored
    await feed.advance(7)

    assert [one.position for one in await feed.read(3)] == [4, 5, 6, 7]
    assert log.asked == [(0, 10), (3, 7)]


async def test_a_reader_that_came_late_gets_what_was_added_meanwhile() -> None:
    log = a_log(3)
    feed = await a_feed(log)
    await feed.read(0)
    log.stored = a_log(7).stored
    await feed.advance(7)
    await feed.read(3)

    assert [one.position for one in await feed.read(0)] == [1, 2, 3, 4, 5, 6, 7]


async def test_nothing_is_asked_for_before_it_is_known_to_exist() -> None:
    log = a_log(3)
    feed = await a_feed(log)
    await feed.read(0)

    assert await feed.read(3) == []
    assert log.asked == [(0, 10)]


async def test_only_the_last_few_chunks_are_kept() -> None:
    log = a_log(100)
    feed = await a_feed(log)
    for after in range(0, 100, 10):
        await feed.read(after)

    await feed.read(90)
    await feed.read(0)

    assert log.asked == [(after, 10) for after in range(0, 100, 10)] + [(0, 10)]


async def test_an_outage_in_the_middle_of_a_chunk_leaves_nothing_half_read(monkeypatch: pytest.MonkeyPatch) -> None:
    log = a_log(10)
    feed = await a_feed(log)

    async def away(*_: object) -> list[StoredEvent]:
        raise ConnectionRefusedError

    with monkeypatch.context() as outage:
        outage.setattr(log, "get", away)
        with pytest.raises(ConnectionRefusedError):
            await feed.read(0)

    assert [one.position for one in await feed.read(0)] == list(range(1, 11))


async def test_waiting_for_more_ends_when_there_is_more_and_not_before() -> None:
    feed = await a_feed(a_log(3))
    await feed.more(2)
    waiting = asyncio.create_task(feed.more(3))
    await asyncio.sleep(0)
    await feed.advance(3)
    await asyncio.sleep(0)
    assert not waiting.done()

    await feed.advance(4)
    await waiting


async def test_those_who_wait_go_on_at_the_same_moment_and_have_read_at_the_same_moment() -> None:
    feed = await a_feed(a_log(0))
    went_on: list[int] = []
    have_read: list[int] = []

    async def follow(number: int) -> None:
        await feed.more(0)
        went_on.append(number)
        await feed.read(0)
        have_read.append(number)

    following = [asyncio.create_task(follow(number)) for number in range(8)]
    await asyncio.sleep(0)
    feed._log.stored = a_log(3).stored  # type: ignore[attr-defined]
    await feed.advance(3)
    await asyncio.sleep(0)
    assert went_on == list(range(8))

    await asyncio.sleep(0)  # the log answers
    await asyncio.sleep(0)
    assert have_read == list(range(8))
    await asyncio.gather(*following)


@pytest.mark.parametrize("fails", ["read fails", "reader is canceled"])
async def test_whoever_reads_and_does_not_get_to_the_end_leaves_it_to_the_next(
    monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    log = a_log(10)
    feed, get, asked = await a_feed(log), log.get, asyncio.Event()

    async def first_fails(*arguments: Any) -> Any:
        if not asked.is_set():
            asked.set()
            await asyncio.sleep(0)
            raise ConnectionRefusedError
        return await get(*arguments)

    monkeypatch.setattr(log, "get", first_fails)
    first, *others = (asyncio.create_task(feed.read(0)) for _ in range(4))
    await asked.wait()
    if fails == "reader is canceled":
        first.cancel()

    outcomes = await asyncio.gather(first, *others, return_exceptions=True)

    assert isinstance(outcomes[0], ConnectionRefusedError | asyncio.CancelledError)
    assert [len(batch) for batch in outcomes[1:] if not isinstance(batch, BaseException)] == [10, 10, 10]
    assert log.asked == [(0, 10)]


async def test_the_head_is_unknown_until_somebody_says_so_and_never_goes_back() -> None:
    feed = PostgresFeed(a_log(0), chunk_size=10)
    waiting = asyncio.create_task(feed.started())
    await asyncio.sleep(0)
    assert not waiting.done()

    await feed.advance(0)
    await waiting
    await feed.advance(5)
    await feed.advance(4)

    assert feed.head == 5


def unknown(stored: StoredEvent) -> dict[str, Any]:
    return {"event_type": "GiftWrapped"}


def truncated(stored: StoredEvent) -> dict[str, Any]:
    return {"payload": stored.payload[:-1]}


def newer(stored: StoredEvent) -> dict[str, Any]:
    return {"schema_version": 2}


@pytest.mark.parametrize(
    ("change", "stands_for"), [(unknown, UnknownEvent), (truncated, Undecodable), (newer, Undecodable)]
)
async def test_an_event_that_cannot_be_understood_takes_its_place_in_the_order(
    change: Callable[[StoredEvent], dict[str, Any]], stands_for: type
) -> None:
    ordinary = as_stored(numbered(MemberPasswordChanged())[0])
    log = a_log(3)
    log.stored[1] = as_stored(numbered(MemberPasswordChanged(), first_position=2)[0], **change(ordinary))

    batch = await (await a_feed(log)).read(0)

    assert [type(one.event) for one in batch] == [MemberPasswordChanged, stands_for, MemberPasswordChanged]
    assert [one.position for one in batch] == [1, 2, 3]


async def test_an_upcaster_that_breaks_in_any_way_spoils_its_own_event_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(envelopes._upcasters, ("MemberPasswordChanged", 0), lambda fields: fields["lines"][0])
    monkeypatch.setitem(envelopes._upcasters, ("MemberRegistered", 0), lambda _: [].pop())
    log = a_log(3)
    log.stored[0] = as_stored(numbered(MemberPasswordChanged())[0], schema_version=0)
    log.stored[1] = as_stored(
        numbered(MemberPasswordChanged(), first_position=2)[0], event_type="MemberRegistered", schema_version=0
    )

    batch = await (await a_feed(log)).read(0)

    assert [getattr(one.event, "reason", None) for one in batch] == [
        "KeyError: 'lines'",
        "IndexError: pop from empty list",
        None,
    ]


async def test_who_keeps_pace_in_another_feed_has_the_newest_from_that_one_and_the_rest_alone() -> None:
    views_log, own_log = a_log(35), a_log(35)
    views = await a_feed(views_log)
    feed = PostgresFeed(own_log, chunk_size=4, newest_of=views)
    await feed.advance(35)

    newest = await feed.read(31)

    assert [one.position for one in newest] == [32, 33, 34, 35]
    assert [one.position for one in await views.read(31)] == [32, 33, 34, 35]
    assert (len(views_log.asked), len(own_log.asked)) == (1, 0)
    assert [one.position for one in await feed.read(2)] == [3, 4]
    assert (len(views_log.asked), len(own_log.asked)) == (1, 1)


async def test_no_more_than_a_chunk_is_had_from_another_feed() -> None:
    feed = PostgresFeed(a_log(35), chunk_size=3, newest_of=await a_feed(a_log(35)))

    assert [one.position for one in await feed.read(30)] == [31, 32, 33]
