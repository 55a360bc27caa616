"""Marks of parked documents, and discarded positions, as folding knows them."""

from typing import Any
from zoneinfo import ZoneInfo

from events.catalog import StockAdjusted
from events.envelope import Envelope
from projector.dead_letters import Filter, letter_id
from projector.failures import FailurePolicy
from projector.folding import DocumentFolder, Folded
from tests.builders import PLACED_AT
from views.kit import Calendar, Document, Projection

CALENDAR = Calendar(ZoneInfo("UTC"))


class Pile(Document, frozen=True, kw_only=True):
    """How many."""

    pieces: int = 0


def piled(pile: Pile, event: StockAdjusted) -> Pile:
    if event.reason == "poison":
        raise ValueError("no such stock")
    return Pile(id=pile.id, pieces=pile.pieces + event.delta)


class Stored:
    """A collection in memory."""

    def __init__(self, *documents: dict[str, Any]) -> None:
        self.documents = documents

    async def load(self, ids: Any) -> list[dict[str, Any]]:
        return [dict(one) for one in self.documents if one["_id"] in set(ids)]


def a_folder() -> DocumentFolder:
    """Of one pile, ``all``, that every product touches."""
    view = Projection(Pile, name="piles", version=1)
    view.on(StockAdjusted, keys=lambda _: ("all",))(piled)
    return DocumentFolder(view, FailurePolicy(1))


def adjusted(position: int, product_id: str, reason: str = "sold") -> Envelope:
    """One piece came."""
    event = StockAdjusted(delta=1, reason=reason)
    at = PLACED_AT
    return Envelope(
        position, "", "StockAdjusted", 1, "product", product_id, position, at, at, None, None, None, None, event
    )


def stored(folded: Folded) -> list[dict[str, Any]]:
    return [write._doc for write in folded.writes]  # type: ignore[misc]


async def test_a_document_that_lacks_an_event_keeps_its_mark_when_others_change_it() -> None:
    folder = a_folder()
    folded = await folder.fold([adjusted(1, "a", "poison"), adjusted(2, "b")], Stored())
    assert folded.dead_letters[0].documents == ("all",)
    assert stored(folded) == [{"_id": "all", "pieces": 1, "_parked": True}]

    again = await folder.fold([adjusted(3, "c"), adjusted(4, "a")], Stored())
    assert stored(again) == [{"_id": "all", "pieces": 2, "_parked": True}]
    assert [letter.state for letter in again.dead_letters] == ["waiting"]


async def test_a_mark_is_no_part_of_the_document() -> None:
    folder = a_folder()
    folded = await folder.fold([adjusted(1, "a")], Stored({"_id": "all", "pieces": 7, "_parked": True}))
    assert stored(folded) == [{"_id": "all", "pieces": 8}]


async def test_a_discarded_position_is_skipped() -> None:
    folder = a_folder()
    folder.discarded = {1}
    folded = await folder.fold([adjusted(1, "a", "poison"), adjusted(2, "a")], Stored())
    assert (stored(folded), folded.dead_letters) == ([{"_id": "all", "pieces": 1}], [])


async def test_an_error_too_long_for_a_document_is_cut() -> None:
    view = Projection(Pile, name="piles", version=1)

    def fails(pile: Pile, event: StockAdjusted) -> Pile:
        raise ValueError("x" * 20_000_000)

    view.on(StockAdjusted)(fails)
    [letter] = (await DocumentFolder(view, FailurePolicy(1)).fold([adjusted(1, "a")], Stored())).dead_letters
    assert len(letter.error) + len(letter.traceback) < 100_000


def test_without_a_state_a_list_holds_what_may_still_take_effect() -> None:
    assert Filter().query() == {"state": {"$in": ["failed", "waiting"]}}
    assert Filter(state="discarded").query() == {"state": "discarded", "request": None}
    assert Filter(state="retry-requested").query()["request.action"] == "retry"


def test_an_id_is_fit_for_a_url_as_it_is() -> None:
    assert letter_id("sales_statistics.v1.Asia-Seoul", 12) == "sales_statistics.v1.Asia-Seoul.12"
