"""Times as query parameters: a day of business time, or a moment."""

from datetime import date, datetime
from typing import Annotated

from pydantic import AfterValidator, StringConstraints, WithJsonSchema

from runtime.times import is_day, is_instant, read_day, read_instant


def read_moment(text: str) -> date | datetime:
    """A day, or an RFC 3339 time with its offset, in UTC. Raises `ValueError`."""
    if is_day(text):
        return read_day(text)
    if not is_instant(text):
        raise ValueError("neither a day as YYYY-MM-DD nor an RFC 3339 time with an offset (in a URL, + is %2B)")
    return read_instant(text)


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
