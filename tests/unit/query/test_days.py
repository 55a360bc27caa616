"""Covering documents hold exactly the days of a range, each once."""

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from query.days import Span, cover, end_of, start_of
from runtime.clock import rfc3339

days = st.dates(min_value=date(1999, 1, 1), max_value=date(2032, 12, 31))


@given(days, st.integers(min_value=0, max_value=1200))
def test_covering_documents_hold_exactly_the_days_of_the_range(first: date, length: int) -> None:
    last = first + timedelta(days=length)
    held = [day for span in cover(first, last) for day in _days_of(span)]
    assert held == [first + timedelta(days=offset) for offset in range(length + 1)]


@given(days, st.integers(min_value=0, max_value=20_000))
def test_no_cover_needs_more_than_three_spans_or_62_days_beside_the_months(first: date, length: int) -> None:
    spans = cover(first, first + timedelta(days=length))
    assert len(spans) <= 3
    assert sum(len(_days_of(span)) for span in spans if span.granularity == "day") < 62


def test_a_whole_month_is_one_document() -> None:
    assert cover(date(2028, 2, 1), date(2028, 2, 29)) == [Span("month", "2028-02", "2028-02")]


def test_a_range_within_a_month_is_days() -> None:
    assert cover(date(2028, 2, 2), date(2028, 2, 28)) == [Span("day", "2028-02-02", "2028-02-28")]


def test_a_business_day_lasts_as_long_as_the_clock_says() -> None:
    london = ZoneInfo("Europe/London")
    summer_begins, summer_ends = date(2026, 3, 29), date(2026, 10, 25)
    assert end_of(summer_begins, london) - start_of(summer_begins, london) == timedelta(hours=23)
    assert end_of(summer_ends, london) - start_of(summer_ends, london) == timedelta(hours=25)


def test_a_day_without_midnight_begins_at_the_clock_change() -> None:
    assert rfc3339(start_of(date(2018, 11, 4), ZoneInfo("America/Sao_Paulo"))) == "2018-11-04T03:00:00.000000Z"


def _days_of(span: Span) -> list[date]:
    """By counting, without a word of the arithmetic under test."""
    if span.granularity == "day":
        day, end = date.fromisoformat(span.first), date.fromisoformat(span.last) + timedelta(days=1)
    else:
        day = datetime.strptime(span.first + "-01", "%Y-%m-%d").date()  # noqa: DTZ007 - a day has no zone
        end = datetime.strptime(span.last + "-01", "%Y-%m-%d").date() + timedelta(days=31)  # noqa: DTZ007
        end = end.replace(day=1)
    found = []
    while day < end:
        found.append(day)
        day += timedelta(days=1)
    return found
