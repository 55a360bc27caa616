"""What is no day and no RFC 3339 time is refused, not guessed at."""

from datetime import UTC, date, datetime

import pytest

from query.times import read_moment
from runtime.times import read_day


@pytest.mark.parametrize("text", ["2026-02-30", "20261121", "2026-W47-6", "1e9", "0", "", "2026-11-21 ", "1899-12-31"])
def test_no_day(text: str) -> None:
    with pytest.raises(ValueError, match=r"not|no such"):
        read_day(text)


@pytest.mark.parametrize(
    "text", ["2026-11-21T10:00:00", "2026-11-21T10:00Z", "2026-11-21T25:00:00Z", "2026-11-21T10:00:00 09:00", "now"]
)
def test_no_moment(text: str) -> None:
    with pytest.raises(ValueError, match=r"neither|no such"):
        read_moment(text)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-21", date(2026, 11, 21)),
        ("2026-11-21T10:00:00Z", datetime(2026, 11, 21, 10, tzinfo=UTC)),
        ("2026-11-21t10:00:00.5z", datetime(2026, 11, 21, 10, 0, 0, 500_000, tzinfo=UTC)),
        ("2026-11-21T10:00:00.123456789+09:00", datetime(2026, 11, 21, 1, 0, 0, 123_456, tzinfo=UTC)),
    ],
)
def test_days_and_moments_in_utc(text: str, moment: date) -> None:
    assert read_moment(text) == moment
