"""What MongoDB can hold: documents of up to 16 MiB, integers of up to 64 bits."""

from typing import Any

import bson
from bson.errors import InvalidDocument

# Less than the server's limit: the mark of a parked document, and the statement around it, need room too.
_LARGEST_BYTES = 16 * 1024 * 1024 - 64 * 1024


def why_unstorable(document: dict[str, Any]) -> str | None:
    """Why MongoDB would refuse this document; none where it takes it."""
    try:
        size = len(bson.encode(document))
    except (InvalidDocument, OverflowError) as error:
        return f"MongoDB cannot hold the document: {error}"
    return f"MongoDB cannot hold a document of {size} bytes" if size > _LARGEST_BYTES else None
