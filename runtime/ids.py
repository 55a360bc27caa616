"""Identifiers made by the server: UUIDv7, so that they sort by the time they were made."""

from uuid_utils import uuid7


def new_id() -> str:
    """A fresh UUIDv7 as its canonical string."""
    return str(uuid7())
