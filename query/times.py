"""Times as callers may give them: a day of business time, or a moment, and nothing that only looks like one.

Python and pydantic read more than the contract offers (``20261121``, ``2026-W47``, seconds since 1970). A caller who
wrote one of those meant something that this service could only guess at.
"""

import re
from datetime import UTC, date, datetime
from typing import Annotated

from pydantic import AfterValidator, StringConstraints, WithJsonSchema

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_MOMENT = re.compile(r"(\d{4}-\d{2}-\d{2})[Tt ](\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?([Zz]|[+-]\d{2}:\d{2})", re.ASCII)

EARLIEST, LATEST = date(1900, 1, 1), date(2999, 12, 31)
"""Far enough for any shop, and near enough for every time zone's arithmetic."""


def read_day(text: str) -> date:
    """``YYYY-MM-DD``. Raises `ValueError`."""
    if _DAY.fullmatch(text) is None:
        raise ValueError("not a day as YYYY-MM-DD")
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise ValueError("no such day") from None
    if not EARLIEST <= day <= LATEST:
        raise ValueError(f"not between {EARLIEST} and {LATEST}")
    return day


def read_moment(text: str) -> date | datetime:
    """A day, or an RFC 3339 time with its offset, in UTC. Raises `ValueError`."""
    if _DAY.fullmatch(text) is not None:
        return read_day(text)
    found = _MOMENT.fullmatch(text)
    if found is None:
        raise ValueError("neither a day as YYYY-MM-DD nor an RFC 3339 time with an offset (in a URL, + is %2B)")
    day, time, fraction, offset = found.groups()
    read_day(day)
    try:
        moment = datetime.fromisoformat(f"{day}T{time}.{(fraction or '0')[:6]:0<6}{offset.upper()}")
    except ValueError:
        raise ValueError("no such time") from None
    return moment.astimezone(UTC)


def _checked_day(text: str) -> str:
    read_day(text)
    return text


def _checked_moment(text: str) -> str:
    read_moment(text)
    return text


_DATE = {"type": "string", "format": "date"}

Day = Annotated[str, StringConstraints(max_length=10), AfterValidator(_checked_day), WithJsonSchema(_DATE)]
Moment = Annotated[
    str,
    StringConstraints(max_length=40),
    AfterValidator(_checked_moment),
    WithJsonSchema({"anyOf": [_DATE, {"type": "string", "format": "date-time"}]}),
]
