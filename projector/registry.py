"""The registry: which instance of a view is served, which is being built, which one can be gone back to.

An instance is a collection with a checkpoint of its own: ``order_detail.v1``, ``order_detail.v1.g2`` after a rebuild.
One document per view, ``{_id: view, active, building, previous, …}``; the query API reads ``active`` and follows it.
Every change here is one write to one document, so no reader ever sees half of a switch.
"""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from pymongo import ReturnDocument

from runtime.errors import ReadsideError
from runtime.mongo import Database
from views.kit import AdditiveView, View

REGISTRY = "registry"
GRACE = timedelta(seconds=60)
"""How long a view that was replaced is kept current, unless it is kept on purpose: a way back, and time for readers."""


class UnknownProjectionError(ReadsideError):
    """There is no projection of this name."""


class RebuildRefusedError(ReadsideError):
    """What was asked for cannot be done now."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A view's document in the registry."""

    view: str = msgspec.field(name="_id")
    active: str
    generation: int = 1
    building: str | None = None
    keep_old: bool = False
    previous: str | None = None
    previous_until: datetime | None = None
    comparison: dict[str, Any] | None = None

    def leads_to(self, wanted: str) -> bool:
        """Whether what is served, or will be once it is built, is an instance of this version."""
        return version_of(self.building or self.active) == version_of(wanted)

    @property
    def instances(self) -> set[str]:
        """Those that are kept current."""
        return {instance for instance in (self.active, self.building, self.previous) if instance is not None}


def instance_of(view: View, zone: ZoneInfo) -> str:
    """The name of a view's collection and checkpoint.

    Where the business time zone goes into the documents it goes into the name: a changed setting is a changed view,
    built afresh beside the old one.
    """
    name = f"{view.name}.v{view.version}"
    if isinstance(view, AdditiveView) and zone.key != "UTC":
        return f"{name}.{zone.key.replace('/', '-')}"
    return name


def version_of(instance: str) -> str:
    """What an instance is an instance of: its name without the generation."""
    base, dot, last = instance.rpartition(".g")
    return base if dot and last.isdigit() else instance


class Registry:
    """Reads and changes the registry; any number of projectors may."""

    def __init__(self, database: Database) -> None:
        self._entries = database[REGISTRY]

    async def entries(self) -> dict[str, Entry]:
        """Every view's entry, by view."""
        found = self._entries.find({"active": {"$exists": True}})
        return {one["_id"]: msgspec.convert(one, Entry) async for one in found}

    async def ensure(self, view: str, wanted: str) -> Entry:
        """The view's entry; a new view is served at once, a new version is built beside the old one."""
        await self._entries.update_one(
            {"_id": view}, {"$setOnInsert": {"active": wanted, "generation": 1}}, upsert=True
        )
        entry = await self.entry(view)
        if not entry.leads_to(wanted):
            change: dict[str, Any] = {"building": wanted, "keep_old": False}
            if entry.previous == wanted:  # on the way back: it goes on from where it was left, and is not let go
                change["previous"] = None
            found = await self._entries.find_one_and_update(
                {"_id": view, "active": entry.active, "building": entry.building},
                {"$set": change},
                return_document=ReturnDocument.AFTER,
            )
            entry = entry if found is None else msgspec.convert(found, Entry)
        return entry

    async def entry(self, view: str) -> Entry:
        """Raises `UnknownProjectionError`."""
        found = await self._entries.find_one({"_id": view})
        if found is None:
            raise UnknownProjectionError(f"There is no projection named {view}.")
        return msgspec.convert(found, Entry)

    async def request_rebuild(self, view: str, *, keep_old: bool = False) -> Entry:
        """Have the view built afresh beside the old one. Raises `RebuildRefusedError` while that is under way."""
        entry = await self.entry(view)
        generation = entry.generation + 1
        found = await self._entries.find_one_and_update(
            {"_id": view, "active": entry.active, "building": None, "previous": None},
            {
                "$set": {
                    "building": f"{version_of(entry.active)}.g{generation}",
                    "generation": generation,
                    "keep_old": keep_old,
                    "comparison": None,
                }
            },
            return_document=ReturnDocument.AFTER,
        )
        if found is None:
            raise RebuildRefusedError(
                f"{view} is being rebuilt, or was a moment ago and its old view is still kept: "
                f"`readside projections forget {view}` lets that go."
            )
        return msgspec.convert(found, Entry)

    async def switch(self, entry: Entry, comparison: dict[str, Any] | None) -> None:
        """Serve what was built, in one write; the old one stays current until its grace ends."""
        await self._entries.update_one(
            {"_id": entry.view, "active": entry.active, "building": entry.building},
            {
                "$set": {
                    "active": entry.building,
                    "building": None,
                    "previous": entry.active,
                    "previous_until": None if entry.keep_old else datetime.now(UTC) + GRACE,
                    "comparison": comparison,
                }
            },
        )

    async def rollback(self, view: str) -> Entry:
        """Serve the previous view again, in one write. Raises `RebuildRefusedError` where none is kept."""
        entry = await self.entry(view)
        if entry.previous is None:
            raise RebuildRefusedError(f"No previous view of {view} is kept.")
        found = await self._entries.find_one_and_update(
            {"_id": view, "active": entry.active, "previous": entry.previous},
            {"$set": {"active": entry.previous, "previous": entry.active, "previous_until": None}},
            return_document=ReturnDocument.AFTER,
        )
        if found is None:
            raise RebuildRefusedError(f"{view} has just been changed by somebody else.")
        return msgspec.convert(found, Entry)

    async def forget_previous(self, entry: Entry) -> None:
        """Stop keeping the previous view; its collection can be dropped."""
        await self._entries.update_one(
            {"_id": entry.view, "previous": entry.previous}, {"$set": {"previous": None, "previous_until": None}}
        )
