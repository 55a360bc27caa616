"""A cursor works for the list it was made for, and for no other."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from runtime.cursors import Cursors, UnknownCursor

HERE = Cursors("deployment", "orders", ("member-1", None))


@given(st.lists(st.text(max_size=50), max_size=3))
def test_a_cursor_gives_back_the_keys_of_the_last_item(last: list[str]) -> None:
    assert HERE.read(HERE.mint(*last)) == tuple(last)


@pytest.mark.parametrize(
    "elsewhere",
    [
        Cursors("another", "orders", ("member-1", None)),
        Cursors("deployment", "products", ("member-1", None)),
        Cursors("deployment", "orders", ("member-2", None)),
        Cursors("deployment", "orders", (None, "member-1")),
        Cursors("deployment", "orders", ("member-1", None, None)),
    ],
)
def test_a_cursor_of_another_list_is_unknown(elsewhere: Cursors) -> None:
    with pytest.raises(UnknownCursor):
        HERE.read(elsewhere.mint("2026", "order-1"))


@given(st.integers(min_value=0), st.characters(codec="ascii"))
def test_a_cursor_that_somebody_changed_is_unknown(place: int, other: str) -> None:
    good = HERE.mint("2026-11-21T00:00:00.000000Z", "order-11")  # fills its last group of four characters
    place %= len(good)
    assume(good[place] != other)
    # The two alphabets of base64 differ in these alone, and mean the same bytes.
    assume({good[place], other} not in ({"-", "+"}, {"_", "/"}))
    with pytest.raises(UnknownCursor):
        HERE.read(good[:place] + other + good[place + 1 :])


@given(st.text())
def test_nothing_made_up_is_a_cursor(text: str) -> None:
    with pytest.raises(UnknownCursor):
        HERE.read(text)
