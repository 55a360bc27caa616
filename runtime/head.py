"""HEAD wherever there is GET, as RFC 9110 asks of every server: the same answer without its body.

Not for streams: theirs has no end.
"""

from collections.abc import MutableMapping
from typing import Any


def has_head(scope: MutableMapping[str, Any]) -> bool:
    """Whether HEAD is answered where GET is."""
    return not scope["path"].endswith("/stream")
