"""Folding a batch: each document once, no half events, and a failure that stops its own aggregate alone."""

from collections.abc import Iterable
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from pymongo import InsertOne, ReplaceOne

from events.catalog import StockAdjusted
from events.envelope import DomainEvent, Envelope
from events.members import MemberPasswordChanged
from projector import folding
from projector.failures import FailurePolicy, FoldFailed
from projector.feed import Undecodable
from projector.folding import Folded, Folder, folder_of
from tests.unit.projector.memory import MemoryDocuments
from tests.unit.views.given import Happened, an_envelope, happened, numbered
from views.kit import AdditiveView, Bucket, Calendar, Document, Increments, Projection, View

UTC_CALENDAR = Calendar(ZoneInfo("UTC"))


class Pile(Document, frozen=True, kw_only=True):
    """What came and went."""

    pieces: int = 0
    versions: tuple[int, ...] = ()


def piled(pile: Pile, event: StockAdjusted, envelope: Envelope) -> Pile:
    if event.reason == "poison" or (event.reason == "poison for b" and pile.id == "b"):
        raise ValueError("no such stock")
    return msgspec.structs.replace(
        pile, pieces=pile.pieces + event.delta, versions=(*pile.versions, envelope.aggregate_version)
    )


def a_view(*, shared: bool = False) -> Projection[Pile]:
    """A pile per product; ``shared``: the two piles ``a`` and ``b``, touched by every product."""
    view = Projection(Pile, name="piles", version=1)
    if shared:
        view.on(StockAdjusted, keys=lambda _: ("a", "b"))(piled)
    else:
        view.on(StockAdjusted)(piled)
    return view


def added(event: StockAdjusted, _: Envelope, __: Calendar) -> Iterable[tuple[Bucket, Increments]]:
    yield ("all",), {"pieces": event.delta}
    if event.reason == "poison":
        raise ValueError("no such stock")
    yield (event.reason,), {"pieces": event.delta, "times": 1}


def an_additive_view() -> AdditiveView:
    """Pieces by reason, and of all."""
    view = AdditiveView(name="reasons", version=1, roll_up=lambda bucket: (f"x|{bucket[0]}", f"y|{bucket[0]}"))
    view.on(StockAdjusted)(added)
    return view


def a_folder(view: View, *, park_after_attempts: int = 1) -> Folder:
    """A folder that parks at the first failure."""
    return folder_of(view, FailurePolicy(park_after_attempts), UTC_CALENDAR)


def moved(delta: int, product_id: str = "p-1", reason: str = "sold") -> Happened:
    """So many pieces of a product came or went."""
    return happened(StockAdjusted(delta=delta, reason=reason), product_id)


def poison(product_id: str) -> Happened:
    """An event that cannot be folded."""
    return moved(1, product_id, "poison")


async def folded(folder: Folder, documents: MemoryDocuments, *events: DomainEvent | Happened) -> Folded:
    """Fold these as one batch, and write the result."""
    result = await folder.fold(numbered(*events), documents)
    documents.write(result)
    return result


async def passes(folder: Folder, batch: list[Envelope], documents: MemoryDocuments) -> int:
    """Fold as the runner does, beginning again after a failure; how often that was."""
    for attempt in range(1, 100):
        try:
            documents.write(await folder.fold(batch, documents))
        except FoldFailed:
            folder.forget()
        else:
            return attempt
    raise AssertionError("never folded")


def letters(result: Folded) -> list[tuple[str, int, str]]:
    """The dead letters: whose, which version, in which state."""
    return [(one.envelope.aggregate_id, one.envelope.aggregate_version, one.state) for one in result.dead_letters]


async def test_a_document_is_written_once_however_many_events_touch_it() -> None:
    documents = MemoryDocuments()

    result = await folded(a_folder(a_view()), documents, moved(1), moved(2), moved(3))

    assert len(result.writes) == 1
    assert documents.stored == {"p-1": {"_id": "p-1", "pieces": 6, "versions": (1, 2, 3)}}


async def test_the_first_event_of_an_aggregate_needs_no_read() -> None:
    documents = MemoryDocuments()

    result = await folded(a_folder(a_view()), documents, moved(1), moved(2))

    assert documents.loaded == []
    assert [type(write) for write in result.writes] == [InsertOne]


async def test_a_document_that_many_aggregates_touch_is_read_even_at_the_first_event_of_one() -> None:
    documents = MemoryDocuments(a={"pieces": 10, "versions": ()})

    result = await folded(a_folder(a_view(shared=True)), documents, moved(1))

    assert documents.loaded == ["a", "b"]
    assert {key: one["pieces"] for key, one in documents.stored.items()} == {"a": 11, "b": 1}
    assert [type(write) for write in result.writes] == [InsertOne, ReplaceOne]


async def test_a_document_of_an_earlier_batch_is_not_read_again() -> None:
    folder, documents = a_folder(a_view()), MemoryDocuments()
    first, second = numbered(moved(1), moved(2))
    documents.write(await folder.fold([first], documents))

    result = await folder.fold([second], documents)
    documents.write(result)

    assert documents.loaded == []
    assert [type(write) for write in result.writes] == [ReplaceOne]
    assert documents.stored["p-1"]["pieces"] == 3


async def test_what_was_folded_and_not_written_is_forgotten() -> None:
    folder, documents = a_folder(a_view()), MemoryDocuments(**{"p-1": {"pieces": 5}})
    _, second = numbered(moved(1), moved(2))
    await folder.fold([second], documents)

    folder.forget()
    documents.write(await folder.fold([second], documents))

    assert documents.loaded == ["p-1", "p-1"]
    assert documents.stored["p-1"]["pieces"] == 7


async def test_memory_is_bounded_once_what_it_held_is_durable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folding, "_CACHED_DOCUMENTS", 2)
    folder, documents = a_folder(a_view()), MemoryDocuments()
    await folded(folder, documents, *(moved(1, f"p-{number}") for number in range(5)))
    folder.committed()

    await folded(folder, documents, happened(StockAdjusted(delta=1, reason="new"), "p-new"))
    folder.committed()
    later = [an_envelope(StockAdjusted(delta=1, reason="x"), "product", f"p-{n}", n, 2) for n in range(5)]
    documents.write(await folder.fold(later, documents))

    assert documents.loaded == ["p-0", "p-1", "p-2", "p-3"]
    assert {one["pieces"] for key, one in documents.stored.items() if key != "p-new"} == {2}


async def test_a_batch_larger_than_the_memory_keeps_what_is_not_durable_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folding, "_CACHED_DOCUMENTS", 2)
    folder, documents = a_folder(a_view()), MemoryDocuments()
    being_written = await folder.fold(numbered(moved(1, "p-old")), documents)
    folded_meanwhile = await folder.fold(numbered(*(moved(1, f"p-{number}") for number in range(5))), documents)
    documents.write(being_written)
    folder.committed()

    # The second batch is not written yet: whoever loads its documents now does not find them.
    third = [an_envelope(StockAdjusted(delta=1, reason="x"), "product", f"p-{n}", n, 2) for n in range(5)]
    result = await folder.fold(third, documents)
    documents.write(folded_meanwhile)
    documents.write(result)

    assert [documents.stored[f"p-{number}"]["pieces"] for number in range(5)] == [2] * 5


async def test_an_event_that_fails_halfway_through_its_documents_leaves_no_trace() -> None:
    documents = MemoryDocuments()

    result = await folded(
        a_folder(a_view(shared=True)), documents, moved(1), moved(5, "p-2", "poison for b"), moved(2, "p-3")
    )

    assert {key: one["pieces"] for key, one in documents.stored.items()} == {"a": 3, "b": 3}
    assert letters(result) == [("p-2", 1, "failed")]


async def test_a_poisoned_event_and_what_follows_of_its_aggregate_wait_and_all_others_are_folded() -> None:
    documents = MemoryDocuments()

    result = await folded(
        a_folder(a_view()), documents, moved(1), poison("p-2"), moved(2), moved(7, "p-2"), moved(3, "p-3")
    )

    assert {key: one["pieces"] for key, one in documents.stored.items()} == {"p-1": 3, "p-3": 3}
    assert letters(result) == [("p-2", 1, "failed"), ("p-2", 2, "waiting")]
    assert result.position == 5


async def test_a_dead_letter_says_why() -> None:
    result = await folded(a_folder(a_view()), MemoryDocuments(), poison("p-1"), moved(1))

    failed, waiting = result.dead_letters
    assert (failed.error, failed.attempts) == ("ValueError: no such stock", 1)
    assert "in piled" in failed.traceback
    assert (waiting.error, waiting.attempts, waiting.traceback) == (
        "waits behind an earlier event of the same aggregate",
        0,
        "",
    )


async def test_a_parked_aggregate_stays_parked_in_later_batches() -> None:
    folder, documents = a_folder(a_view()), MemoryDocuments()
    await folded(folder, documents, poison("p-1"))

    result = await folder.fold([an_envelope(StockAdjusted(delta=1, reason="x"), "product", "p-1", 2, 2)], documents)

    assert letters(result) == [("p-1", 2, "waiting")]
    assert folder.parked == {("product", "p-1")}


async def test_only_aggregates_of_the_same_type_share_an_id() -> None:
    folder, documents = a_folder(a_view()), MemoryDocuments()
    folder.parked = {("order", "p-1")}

    assert letters(await folded(folder, documents, moved(1))) == []


@pytest.mark.parametrize("attempts", [1, 3, 5])
async def test_an_event_is_tried_so_often_before_it_is_parked(attempts: int) -> None:
    folder, documents = a_folder(a_view(), park_after_attempts=attempts), MemoryDocuments()

    assert await passes(folder, numbered(moved(1), poison("p-2"), moved(3)), documents) == attempts
    assert documents.stored["p-1"]["pieces"] == 4


async def test_many_poisoned_aggregates_are_tried_together_and_not_one_after_the_other() -> None:
    folder, documents = a_folder(a_view(), park_after_attempts=3), MemoryDocuments()
    batch = numbered(*(poison(f"p-{number}") for number in range(50)), moved(1, "p-50"))

    assert await passes(folder, batch, documents) == 3
    assert len(folder.parked) == 50
    assert documents.stored.keys() == {"p-50"}


async def test_a_failure_that_passes_parks_nothing() -> None:
    view, broken = a_view(), True

    def sometimes(pile: Pile, event: MemberPasswordChanged) -> Pile:
        if broken:
            raise ConnectionError
        return msgspec.structs.replace(pile, pieces=1)

    view.on(MemberPasswordChanged)(sometimes)
    folder, documents = a_folder(view, park_after_attempts=2), MemoryDocuments()
    batch = numbered(MemberPasswordChanged())
    with pytest.raises(FoldFailed, match="MemberPasswordChanged at position 1"):
        await folder.fold(batch, documents)

    broken = False
    folder.forget()
    result = await folder.fold(batch, documents)

    assert (letters(result), len(result.writes)) == ([], 1)


async def test_keys_that_cannot_be_told_are_a_failure_of_their_event_alone() -> None:
    view: Projection[Pile] = Projection(Pile, name="piles", version=1)
    view.on(StockAdjusted, keys=lambda event: (event.reason.split(":")[1],))(piled)
    documents = MemoryDocuments()

    result = await folded(a_folder(view), documents, moved(1, "p-1", "to:a"), moved(1, "p-2", "nowhere"))

    assert letters(result) == [("p-2", 1, "failed")]
    assert documents.stored.keys() == {"a"}


DAMAGED: dict[str, dict[str, Any]] = {"p-1": {"pieces": "many"}, "p-2": {"pieces": 1}}


async def test_a_damaged_document_stops_those_who_touch_it_alone() -> None:
    documents = MemoryDocuments(**DAMAGED)
    later = [an_envelope(StockAdjusted(delta=1, reason="x"), "product", f"p-{n}", n, 2) for n in (1, 2)]

    result = await a_folder(a_view()).fold(later, documents)
    documents.write(result)

    assert letters(result) == [("p-1", 2, "failed")]
    assert {key: one["pieces"] for key, one in documents.stored.items()} == {"p-1": "many", "p-2": 2}


async def test_the_mark_of_a_parked_document_is_no_field_of_the_view() -> None:
    documents = MemoryDocuments(**{"p-1": {"pieces": 1, "_parked": True}})
    later = [an_envelope(StockAdjusted(delta=1, reason="x"), "product", "p-1", 2, 2)]

    documents.write(await a_folder(a_view()).fold(later, documents))

    assert documents.stored["p-1"] == {"_id": "p-1", "pieces": 2, "versions": (2,)}


@pytest.mark.parametrize("view", [a_view(), an_additive_view()], ids=["projection", "additive"])
async def test_events_that_the_view_does_not_take_move_the_position_alone(view: View) -> None:
    result = await folded(a_folder(view), MemoryDocuments(), MemberPasswordChanged(), MemberPasswordChanged())

    assert (result.position, result.events, result.writes, result.dead_letters) == (2, 2, [], [])


@pytest.mark.parametrize(("event_type", "parked"), [("StockAdjusted", ["failed"]), ("OrderPlaced", [])])
async def test_an_undecodable_event_stops_only_who_subscribed_to_it(event_type: str, parked: list[str]) -> None:
    unreadable = Undecodable(event_type=event_type, reason="DecodeError: JSON is malformed")
    batch = [an_envelope(unreadable, "product", "p-1", event_type=event_type)]

    result = await a_folder(a_view()).fold(batch, MemoryDocuments())

    assert [letter.state for letter in result.dead_letters] == parked
    assert all("JSON is malformed" in letter.error for letter in result.dead_letters)


@pytest.mark.parametrize(
    ("snapshots", "expected"),
    [((None, None), None), (("3:3:", None), "3:3:"), ((None, "5:5:"), "5:5:"), (("3:3:", "5:5:"), "5:5:")],
)
async def test_a_batch_is_complete_up_to_the_last_snapshot_in_it(
    snapshots: tuple[str | None, ...], expected: str | None
) -> None:
    batch = [
        an_envelope(MemberPasswordChanged(), position=position, snapshot=snapshot)
        for position, snapshot in enumerate(snapshots, 1)
    ]

    assert (await a_folder(a_view()).fold(batch, MemoryDocuments())).snapshot == expected


async def test_counters_are_summed_before_they_are_written() -> None:
    documents = MemoryDocuments()

    result = await folded(
        a_folder(an_additive_view()), documents, moved(1), moved(2, "p-2"), moved(4, "p-1", "broken"), moved(8)
    )

    assert documents.stored == {
        f"{letter}|{bucket}": {"_id": f"{letter}|{bucket}", **fields}
        for letter in "xy"
        for bucket, fields in COUNTED.items()
    }
    assert len(result.writes) == 6
    assert documents.loaded == []


COUNTED: dict[str, dict[str, Any]] = {
    "all": {"pieces": 15},
    "sold": {"pieces": 11, "times": 3},
    "broken": {"pieces": 4, "times": 1},
}


async def test_an_event_that_fails_after_its_first_counter_counts_nowhere() -> None:
    documents = MemoryDocuments()

    result = await folded(a_folder(an_additive_view()), documents, moved(1), poison("p-2"), moved(1, "p-2"))

    assert documents.stored["x|all"]["pieces"] == 1
    assert letters(result) == [("p-2", 1, "failed"), ("p-2", 2, "waiting")]


async def test_counters_of_a_pass_that_failed_are_not_counted_again() -> None:
    folder, documents = a_folder(an_additive_view(), park_after_attempts=3), MemoryDocuments()

    await passes(folder, numbered(moved(1), poison("p-2"), moved(2)), documents)

    assert documents.stored["x|all"]["pieces"] == 3


async def test_counters_of_one_batch_are_not_written_with_the_next() -> None:
    folder, documents = a_folder(an_additive_view()), MemoryDocuments()
    first, second = numbered(moved(1), moved(2))
    documents.write(await folder.fold([first], documents))
    documents.write(await folder.fold([second], documents))

    assert documents.stored["x|all"]["pieces"] == 3


def test_a_view_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(TypeError, match="odd is no kind of view"):
        a_folder(View(name="odd", version=1))
