"""Times as callers may write them: RFC 3339, and nothing that only looks like it.

Python and pydantic read more than the contract offers (``20261121``, ``2026-W47``, seconds since 1970). A caller who
wrote one of those meant something that this service could only guess at.
"""

import re
from datetime import UTC, date, datetime

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_INSTANT = re.compile(r"(\d{4}-\d{2}-\d{2})[Tt ](\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?([Zz]|[+-]\d{2}:\d{2})", re.ASCII)

EARLIEST, LATEST = date(1900, 1, 1), date(2999, 12, 31)
"""Far enough for any shop, and near enough for every time zone's arithmetic."""


def is_day(text: str) -> bool:
    """Whether it is written as ``YYYY-MM-DD``."""
    return _DAY.fullmatch(text) is not None


def read_day(text: str) -> date:
    """``YYYY-MM-DD``. Raises `ValueError`."""
    if not is_day(text):
        raise ValueError("not a day as YYYY-MM-DD")
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise ValueError("no such day") from None
    if not EARLIEST <= day <= LATEST:
        raise ValueError(f"not between {EARLIEST} and {LATEST}")
    return day


def is_instant(text: str) -> bool:
    """Whether it is written as an RFC 3339 time with its offset."""
    return _INSTANT.fullmatch(text) is not None


def read_instant(text: str) -> datetime:
    """An RFC 3339 time with its offset, in UTC. Raises `ValueError`."""
    found = _INSTANT.fullmatch(text)
    if found is None:
        raise ValueError("not an RFC 3339 time with an offset")
    day, time, fraction, offset = found.groups()
    read_day(day)
    try:
        moment = datetime.fromisoformat(f"{day}T{time}.{(fraction or '0')[:6]:0<6}{offset.upper()}")
    except ValueError:
        raise ValueError("no such time") from None
    return moment.astimezone(UTC)
