"""Reading server-sent events: the part of the format that our own APIs speak."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec


class Told(msgspec.Struct, frozen=True):
    """One event; ``data`` is decoded JSON."""

    name: str
    event_id: str
    data: Any


async def told(lines: AsyncIterator[str]) -> AsyncIterator[Told]:
    """Events of a stream's lines; comments are passed over. Raises `ValueError` for data that is no JSON."""
    name, event_id, data = "message", "", list[str]()
    async for line in lines:
        if not line:
            if data:
                yield Told(name, event_id, msgspec.json.decode("\n".join(data)))
            name, data = "message", []
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            name = value
        elif field == "id":
            event_id = value
        elif field == "data":
            data.append(value)
