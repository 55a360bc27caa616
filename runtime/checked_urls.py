"""URLs among the settings."""

from collections.abc import Collection
from urllib.parse import urlsplit


def checked_url(value: str | None, schemes: Collection[str], example: str) -> str | None:
    """The same, where it is one of these schemes. Raises `ValueError` with the form that is expected."""
    if value is None:
        return None
    try:
        parts = urlsplit(value)
        _ = parts.port  # raises on a port that is no number
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in schemes or not (parts.netloc or "host=" in parts.query):
        # The value is not repeated: it may hold a password.
        raise ValueError(f"not a URL of the form {example}")
    return value
