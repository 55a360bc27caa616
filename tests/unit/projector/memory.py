"""Stand-ins that enter by the front door: a store of documents, and an event log, in memory."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from pymongo import InsertOne, ReplaceOne, UpdateOne

from events.envelope import Envelope
from eventstore import EventLog, Filter
from eventstore.log import StoredEvent
from projector.folding import Folded


class MemoryDocuments:
    """A collection, as far as folding knows one; it notes what was loaded."""

    def __init__(self, **documents: dict[str, Any]) -> None:
        self.stored = {key: {"_id": key} | fields for key, fields in documents.items()}
        self.loaded: list[str] = []

    async def load(self, ids: Iterable[str]) -> list[dict[str, Any]]:
        """Those of these documents that exist."""
        wanted = sorted(ids)
        self.loaded += wanted
        await asyncio.sleep(0)
        return [dict(self.stored[key]) for key in wanted if key in self.stored]

    def write(self, folded: Folded) -> None:
        """What a transaction would do; an insert of what exists fails as it would there."""
        for write in folded.writes:
            if isinstance(write, InsertOne):
                key = write._doc["_id"]
                assert key not in self.stored, f"{key} was inserted twice"
                self.stored[key] = dict(write._doc)
            elif isinstance(write, ReplaceOne):
                self.stored[write._filter["_id"]] = dict(write._doc)
            else:
                self._add(write)

    def _add(self, write: UpdateOne) -> None:
        assert isinstance(write._doc, dict)
        held = self.stored.setdefault(write._filter["_id"], {"_id": write._filter["_id"]})
        for field, amount in write._doc["$inc"].items():
            held[field] = held.get(field, 0) + amount


class MemoryLog(EventLog):
    """An event log in a list; it notes what was asked for."""

    def __init__(self, stored: Sequence[StoredEvent] = ()) -> None:
        self.stored = list(stored)
        self.asked: list[tuple[int, int]] = []

    async def get(self, after: int, limit: int, only: Filter | None = None) -> Sequence[StoredEvent]:
        """At most ``limit`` events after this position."""
        assert only is None
        self.asked.append((after, limit))
        await asyncio.sleep(0)
        return self.stored[after : after + limit]

    async def head(self) -> int:
        """The position of the last."""
        return len(self.stored)


def as_stored(envelope: Envelope, **changes: Any) -> StoredEvent:
    """The envelope as a row of the log."""
    fields = {field: getattr(envelope, field) for field in StoredEvent.__struct_fields__ if field != "payload"}
    return StoredEvent(**fields | {"payload": msgspec.json.encode(envelope.event).decode()} | changes)
