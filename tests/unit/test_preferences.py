"""``Prefer: wait=N`` among whatever else a caller prefers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.preferences import wait_seconds


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ([], None),
        (["wait=5"], 5),
        (["Wait = 5"], 5),
        (['wait="5"'], 5),
        (["wait=0"], 0),
        (["wait=31"], 30),
        (["wait=" + "9" * 5000], 30),
        (["wait=007"], 7),
        (["respond-async, wait=5"], 5),
        (["wait=5; priority=high, return=minimal"], 5),
        (["return=minimal", "wait=5"], 5),
        (['note="a, wait=9", wait=5'], 5),
        (["wait=5, wait=9"], 5),
        (["wait=abc, wait=9"], None),
        (["wait=-1"], None),
        (["wait=1.5"], None),
        (["wait"], None),
        (["waiting=5"], None),
        (["wait=٥"], None),
        (['"'], None),
    ],
)
def test_the_first_wait_counts_and_what_cannot_be_understood_is_ignored(
    headers: list[str], seconds: int | None
) -> None:
    assert wait_seconds(headers, longest=30) == seconds


@given(st.lists(st.text(alphabet='wait=0123456789",;\\ ', max_size=60), max_size=4))
def test_no_header_breaks_it(headers: list[str]) -> None:
    assert wait_seconds(headers, longest=30) in {None, *range(31)}
