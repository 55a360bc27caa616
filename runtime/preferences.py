"""``Prefer: wait=N`` of RFC 7240: how long a caller would wait for an answer."""

import re
from collections.abc import Iterable

# Commas and semicolons inside a quoted string separate nothing.
_PREFERENCE = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*"?)+')
_WAIT = re.compile(r'\s*wait\s*=\s*(?:"(?P<quoted>\d+)"|(?P<plain>\d+))\s*(?:;.*)?', re.IGNORECASE | re.ASCII)
_IS_WAIT = re.compile(r"\s*wait\s*(?:[=;]|$)", re.IGNORECASE)


def wait_seconds(headers: Iterable[str], *, longest: int) -> int | None:
    """The wait that is asked for, at most ``longest`` (below 10,000 seconds).

    ``None`` where none is asked for, or none that can be understood. Of several the first counts. Every other
    preference is ignored, as a preference may be.
    """
    given = ",".join(headers)
    for preference in _PREFERENCE.findall(given) if given else ():
        if _IS_WAIT.match(preference):
            found = _WAIT.fullmatch(preference)
            if found is None:
                return None
            # Longer than any wait there is, and too long for int() to be cheap.
            digits = (found["quoted"] or found["plain"]).lstrip("0")
            return longest if len(digits) > 4 else min(int(digits or "0"), longest)
    return None
