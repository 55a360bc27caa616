"""What counts as a difference between a stored document and what its events make."""

from typing import Any

import msgspec
import pytest
from bson.int64 import Int64

from projector.differences import Difference, FieldDifference, difference, shortened
from views.kit import AdditiveView, Document, Projection, View

DOCUMENTS = Projection(Document, name="orders", version=1)
COUNTERS = AdditiveView(name="sales", version=1, roll_up=lambda bucket: bucket)
NOTHING = msgspec.UNSET


@pytest.mark.parametrize(
    ("found", "expected", "fields"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, []),
        ({"a": Int64(1)}, {"a": 1}, []),
        ({"a": 1.0}, {"a": 1}, [("a", 1.0, 1)]),
        ({"a": True}, {"a": 1}, [("a", True, 1)]),
        ({"a": None}, {}, [("a", None, NOTHING)]),
        ({}, {"a": 0}, [("a", NOTHING, 0)]),
        ({"a": {"b": {"c": 1}}}, {"a": {"b": {"c": 2}}}, [("a.b.c", 1, 2)]),
        ({"a": [{"b": 1}, {"b": 2}]}, {"a": [{"b": 1}, {"b": 3}]}, [("a[1].b", 2, 3)]),
        ({"a": [1]}, {"a": [1, 2]}, [("a", [1], [1, 2])]),
        ({"a": {"b": 1}}, {"a": None}, [("a", {"b": 1}, None)]),
    ],
)
def test_documents_differ_by_field(found: Any, expected: Any, fields: list[tuple[str, Any, Any]]) -> None:
    wrong = difference(DOCUMENTS, "o-1", found, expected)
    assert list(wrong.fields if wrong else ()) == [FieldDifference(*field) for field in fields]


def test_a_counter_that_is_absent_is_0() -> None:
    assert difference(COUNTERS, "day", {"units": 1}, {"units": Int64(1), "orders": 0}) is None
    assert difference(COUNTERS, "day", {"units": 1, "orders": 0}, {"units": 1}) is None
    assert difference(COUNTERS, "day", {"units": False}, {}) is not None


@pytest.mark.parametrize("view", [DOCUMENTS, COUNTERS])
def test_a_document_is_missing_or_extra(view: View) -> None:
    assert difference(view, "o-1", None, {"_id": "o-1"}) == Difference(key="o-1", kind="missing")
    assert difference(view, "o-1", {"_id": "o-1"}, None) == Difference(key="o-1", kind="extra")
    assert difference(view, "o-1", None, None) is None


def test_lines_for_a_person_are_short() -> None:
    fields = tuple(FieldDifference(f"f{number}", NOTHING, "x" * 99) for number in range(10))
    lines = Difference(key="o-1", kind="different", fields=fields).lines()
    assert lines[0] == "different o-1"
    assert lines[1] == f'  f0: nothing instead of "{"x" * 58}…'
    assert lines[9:] == ["  … and 2 more fields"]
    assert shortened({"name": "Jürgen"}) == '{"name": "Jürgen"}'
