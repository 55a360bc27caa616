"""Sales statistics: booked once, in the right hour, and the same in total, by product and by category."""

from collections import Counter
from datetime import UTC, datetime
from random import Random

import msgspec
import pytest
from hypothesis import given as forall
from hypothesis import strategies as st

from events.envelope import DomainEvent
from events.ordering import Line
from tests.builders import a_line
from tests.unit.views.given import (
    Given,
    Happened,
    a_canceled_order,
    a_paid_order,
    a_placed_order,
    given,
    happened,
)
from views.sales_statistics import document_id, view

PLACED = {"placed_orders": 1, "placed_amount": 200}
PAID = {"paid_orders": 1, "gross_sales": 200, "units": 2}
CANCELED = {"canceled_orders": 1, "canceled_amount": 200}
GROUPS = (("none", ""), ("product", "p-1"), ("category", "things"))
PERIODS = (("hour", "2026-03-02T09:00"), ("day", "2026-03-02"), ("month", "2026-03"))


def total(period: str = "2026-03-02", granularity: str = "day") -> str:
    return document_id(granularity, "none", period, "")


def of_product(product_id: str) -> str:
    return document_id("day", "product", "2026-03-02", product_id)


def of_category(category: str) -> str:
    return document_id("day", "category", "2026-03-02", category)


@pytest.mark.parametrize(
    ("events", "counters"),
    [
        ((a_placed_order(),), PLACED),
        ((a_placed_order(), a_paid_order()), PLACED | PAID),
        ((a_placed_order(), a_paid_order(), a_canceled_order(was_paid=True)), PLACED | PAID | CANCELED),
        ((a_placed_order(), a_canceled_order(was_paid=False)), PLACED),
    ],
    ids=["placed", "paid", "canceled after it was paid", "canceled before it was paid"],
)
def test_an_order_is_booked_in_every_period_and_group(
    events: tuple[DomainEvent, ...], counters: dict[str, int]
) -> None:
    after = given(view, *events)

    assert after.documents == {
        document_id(granularity, group, period, key): counters
        for granularity, period in PERIODS
        for group, key in GROUPS
    }


def test_each_step_is_booked_at_its_own_time() -> None:
    after = given(
        view,
        happened(a_placed_order(), at=datetime(2026, 1, 31, 23, 30, tzinfo=UTC)),
        happened(a_paid_order(), at=datetime(2026, 2, 1, 0, 30, tzinfo=UTC)),
        happened(a_canceled_order(was_paid=True), at=datetime(2026, 3, 1, 12, 0, tzinfo=UTC)),
    )

    after.then(total("2026-01-31"), **PLACED)
    after.then(total("2026-02", "month"), **PAID)
    after.then(total("2026-03-01T12:00", "hour"), **CANCELED)


def test_a_product_on_two_lines_counts_its_order_once_and_both_amounts() -> None:
    lines = (a_line(quantity=1), a_line(quantity=3), a_line("p-2", category="gifts", quantity=5))

    after = given(view, a_placed_order(*lines), a_paid_order(*lines))

    after.then(total(), placed_orders=1, placed_amount=900, paid_orders=1, gross_sales=900, units=9)
    after.then(of_product("p-1"), placed_orders=1, placed_amount=400, paid_orders=1, gross_sales=400, units=4)
    after.then(of_category("things"), placed_orders=1, placed_amount=400, paid_orders=1, gross_sales=400, units=4)
    after.then(of_product("p-2"), placed_orders=1, placed_amount=500, paid_orders=1, gross_sales=500, units=5)


def test_two_products_of_one_category_are_one_order_of_that_category() -> None:
    lines = (a_line("p-1"), a_line("p-2"))

    given(view, a_placed_order(*lines)).then(of_category("things"), placed_orders=1, placed_amount=400)


def test_the_discount_lowers_the_sale_of_the_line_that_bears_it_and_points_lower_none() -> None:
    lines = (a_line("p-1", discount=30), a_line("p-2", discount=0))

    after = given(view, a_placed_order(*lines, discount_amount=30), a_paid_order(*lines, points=100))

    after.then(total(), placed_orders=1, placed_amount=370, paid_orders=1, gross_sales=370, units=4)
    after.then(of_product("p-1"), placed_orders=1, placed_amount=170, paid_orders=1, gross_sales=170, units=2)


def test_a_product_and_a_category_of_one_name_do_not_mix() -> None:
    after = given(view, a_placed_order(a_line("mugs", category="mugs"), a_line("p-2", category="mugs")))

    after.then(of_product("mugs"), placed_orders=1, placed_amount=200)
    after.then(of_category("mugs"), placed_orders=1, placed_amount=400)


@pytest.mark.parametrize(
    ("zone", "moment", "hour"),
    [
        ("UTC", datetime(2026, 3, 1, 15, 30, tzinfo=UTC), "2026-03-01T15:00"),
        ("Asia/Seoul", datetime(2026, 3, 1, 14, 59, 59, tzinfo=UTC), "2026-03-01T23:00"),
        ("Asia/Seoul", datetime(2026, 3, 1, 15, 0, tzinfo=UTC), "2026-03-02T00:00"),
        ("Asia/Kathmandu", datetime(2026, 3, 1, 18, 14, 59, tzinfo=UTC), "2026-03-01T23:00"),
        ("Asia/Kathmandu", datetime(2026, 3, 1, 18, 15, tzinfo=UTC), "2026-03-02T00:00"),
        # London goes from 00:59:59 GMT to 02:00 BST on 29 March: 01:00 does not exist.
        ("Europe/London", datetime(2026, 3, 29, 0, 59, 59, tzinfo=UTC), "2026-03-29T00:00"),
        ("Europe/London", datetime(2026, 3, 29, 1, 0, tzinfo=UTC), "2026-03-29T02:00"),
        # And back on 25 October: 01:00 to 02:00 comes twice, and both hours are one.
        ("Europe/London", datetime(2026, 10, 25, 0, 30, tzinfo=UTC), "2026-10-25T01:00"),
        ("Europe/London", datetime(2026, 10, 25, 1, 30, tzinfo=UTC), "2026-10-25T01:00"),
        # In summer the last hour of a day in UTC is the first of the next in London.
        ("Europe/London", datetime(2026, 6, 30, 23, 0, tzinfo=UTC), "2026-07-01T00:00"),
    ],
)
def test_the_hour_the_day_and_the_month_are_those_of_the_shop(zone: str, moment: datetime, hour: str) -> None:
    after = given(view, happened(a_placed_order(), at=moment), zone=zone)

    assert {key for key in after.documents if "|none|" in key} == {
        total(hour, "hour"),
        total(hour[:10]),
        total(hour[:7], "month"),
    }


MOMENTS = st.datetimes(datetime(2025, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 (bounds are naive)
ZONES = st.sampled_from(("UTC", "Asia/Seoul", "Europe/London", "America/St_Johns"))


@st.composite
def an_order_line(draw: st.DrawFn) -> Line:
    line = a_line(
        draw(st.sampled_from(("p-1", "p-2", "p-3"))),
        category=draw(st.sampled_from(("things", "gifts"))),
        unit_price=draw(st.integers(0, 10**6)),
        quantity=draw(st.integers(1, 100)),
    )
    return msgspec.structs.replace(line, discount=draw(st.integers(0, line.amount)))


@st.composite
def an_order_life(draw: st.DrawFn) -> list[Happened]:
    lines = tuple(draw(st.lists(an_order_line(), min_size=1, max_size=5)))
    was_paid, is_canceled = draw(st.booleans()), draw(st.booleans())
    events: list[DomainEvent] = [a_placed_order(*lines, discount_amount=sum(line.discount for line in lines))]
    if was_paid:
        events.append(a_paid_order(*lines))
    if is_canceled:
        events.append(a_canceled_order(*lines, was_paid=was_paid))
    return [happened(event, at=draw(MOMENTS)) for event in events]


@forall(lives=st.lists(an_order_life(), max_size=8), zone=ZONES)
def test_money_and_units_by_product_by_category_and_in_total_are_the_same(
    lives: list[list[Happened]], zone: str
) -> None:
    after = given(view, *(event for life in lives for event in life), zone=zone)

    for measure in ("placed_amount", "gross_sales", "units", "canceled_amount"):
        for granularity in ("hour", "day", "month"):
            in_total = by_period(after, granularity, "none", measure)
            assert by_period(after, granularity, "product", measure) == in_total
            assert by_period(after, granularity, "category", measure) == in_total


@forall(lives=st.lists(an_order_life(), max_size=8), zone=ZONES)
def test_hours_add_up_to_days_and_days_to_months(lives: list[list[Happened]], zone: str) -> None:
    after = given(view, *(event for life in lives for event in life), zone=zone)

    for measure in ("placed_orders", "paid_orders", "units", "canceled_orders", "gross_sales"):
        hours, days = by_period(after, "hour", "none", measure), by_period(after, "day", "none", measure)
        assert cut(hours, 10) == days
        assert cut(days, 7) == by_period(after, "month", "none", measure)


@forall(lives=st.lists(an_order_life(), min_size=1, max_size=6), order=st.randoms(use_true_random=False))
def test_counters_do_not_depend_on_the_order_of_events(lives: list[list[Happened]], order: Random) -> None:
    events = [event for life in lives for event in life]
    shuffled = list(events)
    order.shuffle(shuffled)

    assert given(view, *shuffled).documents == given(view, *events).documents


def by_period(after: Given, granularity: str, group: str, measure: str) -> dict[str, int]:
    """One measure of one group, summed over the group's keys."""
    sums: Counter[str] = Counter()
    for document, counters in after.documents.items():
        found_granularity, found_group, period, _ = document.split("|")
        if (found_granularity, found_group) == (granularity, group):
            sums[period] += counters.get(measure, 0)
    return {period: amount for period, amount in sums.items() if amount}


def cut(sums: dict[str, int], length: int) -> dict[str, int]:
    """The sums of longer periods, whose names are the first characters of the shorter."""
    longer: Counter[str] = Counter()
    for period, amount in sums.items():
        longer[period[:length]] += amount
    return {period: amount for period, amount in longer.items() if amount}
