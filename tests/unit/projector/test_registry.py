"""The names of instances: what changes the documents' meaning changes the name."""

from zoneinfo import ZoneInfo

import pytest

from events.members import MemberRegistered
from projector.registry import instance_of
from views import all_views
from views.kit import AdditiveView, Document, Projection, View

DOCUMENTS = Projection(Document, name="orders", version=2)
COUNTERS = AdditiveView(name="sales", version=3, roll_up=lambda bucket: bucket)


@pytest.mark.parametrize(
    ("view", "zone", "instance"),
    [
        (DOCUMENTS, "UTC", "orders.v2"),
        (DOCUMENTS, "Asia/Seoul", "orders.v2"),
        (COUNTERS, "UTC", "sales.v3"),
        (COUNTERS, "Asia/Seoul", "sales.v3.Asia-Seoul"),
        (COUNTERS, "America/Argentina/Buenos_Aires", "sales.v3.America-Argentina-Buenos_Aires"),
    ],
)
def test_an_instance_is_named_by_all_that_decides_its_documents(view: View, zone: str, instance: str) -> None:
    assert instance_of(view, ZoneInfo(zone)) == instance


def test_every_view_is_found_by_its_file_and_has_an_instance_of_its_own() -> None:
    views = all_views()

    assert {"order_detail", "sales_statistics", "product_catalog", "member_profile"} <= views.keys()
    assert len({instance_of(view, ZoneInfo("UTC")) for view in views.values()}) == len(views)


def test_no_event_is_folded_twice_by_one_view() -> None:
    view = Projection(Document, name="twice", version=1)
    view.on(MemberRegistered)(lambda document, _: document)

    with pytest.raises(ValueError, match="twice folds MemberRegistered twice"):
        view.on(MemberRegistered)(lambda document, _: document)
