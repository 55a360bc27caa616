"""Folding a view again on the side: in parts of the log, without what the view lacks, and with what comes late."""

from collections.abc import Iterator, Sequence
from contextlib import closing

import pytest
from pymongo import InsertOne, ReplaceOne, UpdateOne

from events.catalog import StockAdjusted
from eventstore.log import StoredEvent
from eventstore.share import EVERY, Share
from projector.refolding import MovedBackError, Refold
from projector.scratch import Scratch
from tests.unit.projector.memory import MemoryLog, as_stored
from tests.unit.projector.test_folding import UTC_CALENDAR, a_view, an_additive_view
from tests.unit.views.given import happened, numbered


class MemoryLogOfTypes(MemoryLog):
    """Answers as the log does where some types are asked for."""

    async def of_types(
        self, types: Sequence[str], after: int, until: int, limit: int, share: Share = EVERY
    ) -> Sequence[StoredEvent]:
        found = [one for one in self.stored if after < one.position <= until and one.event_type in types]
        assert share == EVERY
        return found[:limit]


def adjusted(product: str, delta: int, reason: str = "count") -> object:
    return happened(StockAdjusted(delta=delta, reason=reason), product)


def a_log(*events: object) -> MemoryLogOfTypes:
    return MemoryLogOfTypes([as_stored(envelope) for envelope in numbered(*events)])  # type: ignore[arg-type]


@pytest.fixture
def scratch() -> Iterator[Scratch]:
    """An empty one."""
    with closing(Scratch()) as scratch:
        yield scratch


LOG = a_log(adjusted("a", 1), adjusted("b", 2), adjusted("a", 3), adjusted("a", 4), adjusted("b", 5))


def pieces(scratch: Scratch) -> dict[str, int]:
    """By document."""
    return {key: document["pieces"] for key, document in scratch.between(None, None)}


@pytest.mark.parametrize("batch", [1, 2, 10])
async def test_the_log_is_folded_up_to_a_position_and_from_there_on(scratch: Scratch, batch: int) -> None:
    refold = Refold(LOG, a_view(), UTC_CALENDAR, scratch)
    told: list[int] = []
    await refold.advance(3, frozenset(), batch=batch, told=lambda done, _: told.append(done))
    assert (pieces(scratch), told[-1]) == ({"a": 4, "b": 2}, 3)
    await refold.advance(5, frozenset(), batch=batch)
    assert pieces(scratch) == {"a": 8, "b": 7}
    with pytest.raises(MovedBackError):
        await refold.advance(4, frozenset())


async def test_counters_are_folded_too(scratch: Scratch) -> None:
    refold = Refold(LOG, an_additive_view(), UTC_CALENDAR, scratch)
    await refold.advance(2, frozenset(), batch=1)
    await refold.advance(5, frozenset())
    assert pieces(scratch) == {"x|all": 15, "y|all": 15, "x|count": 15, "y|count": 15}


async def test_what_the_view_lacks_is_skipped_and_folded_when_it_succeeds_late(scratch: Scratch) -> None:
    refold = Refold(LOG, a_view(), UTC_CALENDAR, scratch)
    await refold.advance(4, {2, 3, 4, 9})
    assert pieces(scratch) == {"a": 1}
    await refold.advance(5, {2, 9})
    assert pieces(scratch) == {"a": 8, "b": 5}
    assert [document["versions"] for _, document in scratch.between("", "a")] == [[1, 2, 3]]


async def test_an_event_that_cannot_be_folded_is_told(scratch: Scratch) -> None:
    log = a_log(adjusted("a", 1), adjusted("a", 2, "poison"), adjusted("a", 3), adjusted("b", 4))
    refold = Refold(log, a_view(), UTC_CALENDAR, scratch)
    await refold.advance(4, frozenset())
    assert pieces(scratch) == {"a": 1, "b": 4}
    assert refold.failures[0] == "StockAdjusted at 2: ValueError: no such stock"


def test_a_scratch_is_ordered_as_ids_are_in_mongodb(scratch: Scratch) -> None:
    keys = ["b", "Z", "é", "\U0001f600", "\uffee", "a"]
    scratch.write(InsertOne({"_id": key, "n": number}) for number, key in enumerate(keys))
    assert [key for key, _ in scratch.between(None, None)] == sorted(keys, key=lambda key: key.encode())
    assert [key for key, _ in scratch.between("Z", "b")] == ["a", "b"]
    assert scratch.some(["a", "none"]) == {"a": {"_id": "a", "n": 5}}
    assert len(scratch) == len(keys)


def test_a_scratch_of_some_keys_keeps_no_others() -> None:
    with closing(Scratch({"a"})) as scratch:
        for key in ("a", "b"):
            scratch.write([InsertOne({"_id": key})])
            scratch.write([ReplaceOne({"_id": key}, {"_id": key, "units": 1})])
            scratch.write([UpdateOne({"_id": key}, {"$inc": {"units": 2, "orders": 1}})])
        assert list(scratch.between(None, None)) == [("a", {"_id": "a", "units": 3, "orders": 1})]


def test_a_scratch_notes_keys_once_and_in_order(scratch: Scratch) -> None:
    for key in ("c", "a", "c", "b"):
        scratch.note(key)
    assert (scratch.noted("", 2), scratch.noted("b", 2)) == (["a", "b"], ["c"])
