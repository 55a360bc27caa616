"""``If-None-Match`` of RFC 9110, compared weakly, as it is for reading."""

import re
from collections.abc import Iterable

from runtime.compression import plain_tag

_TAG = re.compile(r'(?:W/)?("[^"]*")')


def etag_of(version: int | None) -> str:
    """The same strong tag that the command API gives for this version."""
    return f'"{version}"'


def matches(etag: str, if_none_match: Iterable[str]) -> bool:
    """Whether the caller has this already: ``*`` or one tag of the list."""
    given = ",".join(if_none_match).strip()
    return given == "*" or etag in map(plain_tag, _TAG.findall(given))
