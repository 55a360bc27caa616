"""What each process of a rebuild does: together all of it, and nothing of it twice."""

import pytest

from eventstore.share import EVERY, Share
from projector.folding import WHOLE, Part
from projector.sharing import work_of
from views import all_views

VIEWS = all_views()


@pytest.mark.parametrize("of", [1, 2, 3, 4])
@pytest.mark.parametrize("until", [0, 1, 3, 100_001])
def test_counters_are_shared_out_by_stretches_that_follow_on_each_other(of: int, until: int) -> None:
    works = [work_of(VIEWS["sales_statistics"], number, of, until) for number in range(of)]
    positions = [position for work in works for position in range(work.after + 1, work.until + 1)]
    assert positions == list(range(1, until + 1))
    assert {(work.share, work.documents) for work in works} == {(EVERY, WHOLE)}
    assert max(work.until - work.after for work in works) <= until // of + 1


def test_documents_that_their_aggregates_events_make_are_shared_out_by_aggregate() -> None:
    works = [work_of(VIEWS["order_detail"], number, 3, 1_000) for number in range(3)]
    assert [(work.after, work.until, work.share, work.documents) for work in works] == [
        (0, 1_000, Share(number, 3), WHOLE) for number in range(3)
    ]


@pytest.mark.parametrize("view", ["member_profile", "product_catalog"])
def test_documents_that_events_of_others_touch_are_shared_out_by_document(view: str) -> None:
    works = [work_of(VIEWS[view], number, 3, 1_000) for number in range(3)]
    assert [(work.after, work.until, work.share, work.documents) for work in works] == [
        (0, 1_000, EVERY, Part(number, 3)) for number in range(3)
    ]


def test_every_aggregate_falls_to_exactly_one_share() -> None:
    for key in (f"o-{number}" for number in range(200)):
        assert [Share(number, 3).holds(key) for number in range(3)].count(True) == 1
