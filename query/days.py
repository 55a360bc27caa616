"""Days, and which documents cover them: the arithmetic of business time. Pure.

Views count sales per hour, day and month. A range of days is covered by the months that lie in it as a whole and by
the days at its edges: three spans at most, and exactly the days of the range, each once.
"""

from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo


@dataclass(frozen=True, slots=True)
class Span:
    """Documents of one granularity from one period to another, both included."""

    granularity: Literal["hour", "day", "month"]
    first: str
    last: str


def cover(first: date, last: date) -> list[Span]:
    """The fewest documents that together hold exactly these days."""
    from_month = _month(first) + (first.day > 1)
    to_month = _month(last) - (last.day < _days_in(last))
    if from_month > to_month:
        return [Span("day", first.isoformat(), last.isoformat())]
    spans = [Span("month", _named(from_month), _named(to_month))]
    if first.day > 1:
        spans.insert(0, Span("day", first.isoformat(), first.replace(day=_days_in(first)).isoformat()))
    if last.day < _days_in(last):
        spans.append(Span("day", last.replace(day=1).isoformat(), last.isoformat()))
    return spans


def start_of(day: date, zone: ZoneInfo) -> datetime:
    """When a business day begins, in UTC; where a clock change skips midnight, at the change."""
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)


def end_of(day: date, zone: ZoneInfo) -> datetime:
    """When a business day is over, in UTC: the first moment of the next."""
    return start_of(day + timedelta(days=1), zone)


def _month(day: date) -> int:
    return day.year * 12 + day.month - 1


def _named(month: int) -> str:
    return f"{month // 12:04d}-{month % 12 + 1:02d}"


def _days_in(day: date) -> int:
    return monthrange(day.year, day.month)[1]
