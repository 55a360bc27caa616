"""The newest events in memory give the same pages as the log itself."""

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstore import EventLog, Filter, Page, read_page, watch
from eventstore.log import StoredEvent
from eventstore.watch import Tail

AT = datetime(2026, 3, 2, tzinfo=UTC)
TYPES = ("A", "B")


def an_event(position: int, event_type: str = "A", payload: str = "{}") -> StoredEvent:
    """At this position."""
    return StoredEvent(position, "id", event_type, 1, "t", "i", position, AT, AT, None, None, None, None, payload)


def from_the_log(log: Sequence[StoredEvent], after: int, limit: int, only: Filter) -> Page:
    """The slow and obvious way."""
    found = [event for event in log if event.position > after and only.event_type in (None, event.event_type)][:limit]
    head = max(after, len(log))
    scanned = found[-1].position if len(found) == limit else head
    return Page(found, scanned, scanned == head)


@given(
    st.lists(st.lists(st.sampled_from(TYPES), max_size=8), max_size=6),
    st.integers(0, 10),
    st.integers(0, 60),
    st.integers(1, 10),
    st.sampled_from([None, *TYPES]),
)
def test_a_page_of_the_tail_is_the_page_of_the_log(
    batches: list[list[str]], since: int, after: int, limit: int, event_type: str | None
) -> None:
    log = [an_event(position) for position in range(1, since + 1)]
    tail = Tail(since, since)
    for batch in batches:
        new = [an_event(len(log) + number, name) for number, name in enumerate(batch, 1)]
        log += new
        tail = tail.grown(new)
    only = Filter(event_type=event_type)
    page = tail.page(after, limit, only)
    assert page == (None if after < since else from_the_log(log, after, limit, only))


def test_a_tail_keeps_so_many_events_and_so_many_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "_MOST_KEPT", 5)
    monkeypatch.setattr(watch, "_MOST_BYTES_KEPT", 100)
    tail = Tail(0, 0).grown([an_event(position) for position in range(1, 8)])
    assert (tail.since, tail.until, [event.position for event in tail.events]) == (2, 7, [3, 4, 5, 6, 7])
    tail = tail.grown([an_event(8, payload="x" * 97)])
    assert (tail.since, tail.until, [event.position for event in tail.events]) == (6, 8, [7, 8])
    tail = tail.grown([an_event(9, payload="x" * 101)])
    assert (tail.since, tail.until, tail.events) == (9, 9, ())
    assert tail.page(8, 1, Filter()) is None
    assert tail.page(9, 1, Filter()) == Page([], 9, is_end=True)


class GrowingLog(EventLog):
    """A log that has grown by every answer: between any two questions something has happened."""

    def __init__(self) -> None:
        self.events: list[StoredEvent] = []

    def _grow(self) -> None:
        self.events.append(an_event(len(self.events) + 1, TYPES[len(self.events) % 5 in (0, 3)]))

    async def head(self) -> int:
        head = len(self.events)
        self._grow()
        return head

    async def between(self, after: int, until: int, limit: int, only: Filter | None = None) -> Sequence[StoredEvent]:
        found = from_the_log(self.events[:until], after, limit, only or Filter()).events
        self._grow()
        return found


async def test_what_happens_between_two_questions_is_not_taken_for_something_that_was_looked_at() -> None:
    log, only, after = GrowingLog(), Filter(event_type="B"), 0
    told: list[int] = []
    for _ in range(50):
        page = await read_page(log, after, 3, only)
        told += [event.position for event in page.events]
        after = page.scanned
    assert told == [event.position for event in log.events if event.event_type == "B" and event.position <= after]
    assert len(told) > 10
