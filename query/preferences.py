"""``Prefer: wait=N`` of RFC 7240: how long a caller would wait for what it has just done."""

import re
from collections.abc import Iterable

DEFAULT_WAIT_SECONDS = 2
LONGEST_WAIT_SECONDS = 30

# Commas and semicolons inside a quoted string separate nothing.
_PREFERENCE = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*"?)+')
_WAIT = re.compile(r'\s*wait\s*=\s*(?:"(?P<quoted>\d+)"|(?P<plain>\d+))\s*(?:;.*)?', re.IGNORECASE | re.ASCII)
_IS_WAIT = re.compile(r"\s*wait\s*(?:[=;]|$)", re.IGNORECASE)


def wait_seconds(headers: Iterable[str]) -> int | None:
    """The wait that is asked for, at most 30 seconds; ``None`` where none is, or none that can be understood.

    Of several the first counts. Every other preference is ignored, as a preference may be.
    """
    for preference in _PREFERENCE.findall(",".join(headers)):
        if _IS_WAIT.match(preference):
            found = _WAIT.fullmatch(preference)
            if found is None:
                return None
            # Longer than any wait there is, and too long for int() to be cheap.
            digits = (found["quoted"] or found["plain"]).lstrip("0")
            return LONGEST_WAIT_SECONDS if len(digits) > 4 else min(int(digits or "0"), LONGEST_WAIT_SECONDS)
    return None
