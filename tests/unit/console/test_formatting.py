"""Money, numbers and times as they are shown."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from console.formatting import duration, moment, money, seconds_between


@pytest.mark.parametrize(
    ("minor", "currency", "shown"),
    [
        (198_000, "USD", "$1,980.00"),
        (5, "EUR", "€0.05"),
        (-1_050, "USD", "−$10.50"),
        (1_980, "KRW", "₩1,980"),
        (1_234_567, "KWD", "KWD\u00a01,234.567"),
        (10**17 + 1, "USD", "$1,000,000,000,000,000.01"),
        (None, "USD", "–"),
    ],
)
def test_money_is_exact_and_has_the_decimals_of_its_currency(minor: int | None, currency: str, shown: str) -> None:
    assert money(minor, currency) == shown


def test_times_are_in_the_business_zone_and_the_readers_language() -> None:
    at, seoul = "2020-11-21T23:07:03.332313Z", ZoneInfo("Asia/Seoul")
    assert moment(at, "en", seoul) == "22 Nov 2020, 08:07"
    assert moment(at, "ko", seoul, seconds=True) == "2020. 11. 22. 08:07:03"
    assert moment(None, "en", seoul) == "–"


def test_durations_are_short_and_never_negative() -> None:
    assert [duration(one, "en") for one in (0.0042, 3.14, 61, None)] == ["4 ms", "3.1 s", "1 min 1 s", "–"]
    assert duration(61, "ko") == "1분 1초"
    assert seconds_between("2026-11-21T09:07:03Z", datetime(2026, 11, 21, 9, 7, 2, tzinfo=UTC)) == 0.0
