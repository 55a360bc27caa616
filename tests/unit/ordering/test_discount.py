"""Sharing a discount out: to the minor unit, whatever the lines."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from command.ordering.discount import shared_out
from events.ordering import Line
from tests.builders import a_line

LINES = st.lists(
    st.builds(
        a_line, st.sampled_from(("p-1", "p-2")), unit_price=st.integers(0, 10**9), quantity=st.integers(1, 10**4)
    ),
    min_size=1,
    max_size=20,
)


@st.composite
def discounted(draw: st.DrawFn) -> tuple[int, list[Line]]:
    """Lines, and a discount of at most what they cost."""
    lines = draw(LINES)
    return draw(st.integers(0, sum(line.amount for line in lines))), lines


@given(discounted())
def test_the_shares_add_up_to_the_discount(case: tuple[int, list[Line]]) -> None:
    discount, lines = case

    assert sum(line.discount for line in shared_out(discount, lines)) == discount


@given(discounted())
def test_no_line_is_discounted_below_nothing(case: tuple[int, list[Line]]) -> None:
    discount, lines = case

    assert all(0 <= line.discount <= line.amount for line in shared_out(discount, lines))


@given(discounted())
def test_no_share_is_a_whole_minor_unit_away_from_its_exact_proportion(case: tuple[int, list[Line]]) -> None:
    discount, lines = case
    total = sum(line.amount for line in lines)

    # |share - discount * amount / total| < 1, in integers
    assert all(
        abs(line.discount * total - discount * line.amount) < max(total, 1) for line in shared_out(discount, lines)
    )


@given(discounted())
def test_nothing_but_the_share_changes(case: tuple[int, list[Line]]) -> None:
    discount, lines = case

    assert [msgspec.structs.replace(line, discount=0) for line in shared_out(discount, lines)] == lines


def test_what_is_left_goes_to_the_largest_remainders_first() -> None:
    lines = [a_line(unit_price=amount, quantity=1) for amount in (100, 200, 300)]

    assert [line.discount for line in shared_out(100, lines)] == [17, 33, 50]


def test_equal_lines_share_what_is_left_in_their_order() -> None:
    lines = [a_line(unit_price=100, quantity=1) for _ in range(3)]

    assert [line.discount for line in shared_out(100, lines)] == [34, 33, 33]
