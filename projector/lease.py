"""Ownership of a projection: one projector at a time writes it, the others stand by.

Who is authoritative
    The lease document in MongoDB, by MongoDB's clock: nobody compares clocks of two machines.

What is guaranteed
    Every new owner gets a higher epoch, writes it into the checkpoint, and carries it in the guard of every write. An
    owner that was paused past its lease therefore writes nothing any more, even if nothing happened meanwhile. The
    lease alone would not do: it can expire between looking at it and writing.

On a crash
    The lease runs out after three seconds and the next one to ask gets it; at once where the owner released it, or
    was a process of this very machine that is gone.
"""

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import psutil
from pymongo import ReturnDocument

from runtime.ids import new_id
from runtime.mongo import Database

LEASES = "leases"
LEASE_SECONDS = 3.0
RENEW_SECONDS = 1.0
EMPTY: Mapping[str, Any] = MappingProxyType({})
_EXPIRED = {"$lt": ["$expires_at", "$$NOW"]}


def _machine() -> str:
    """Names the process table that this process is in: two containers of one machine have two."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return f"{socket.gethostname()}/{new_id()}"


MACHINE = _machine()


class Lease:
    """One projector's claim on one instance of a view, or on a reaction."""

    def __init__(self, database: Database, instance: str) -> None:
        self._leases = database[LEASES]
        self.instance = instance
        self._owner = new_id()
        self.epoch = 0

    async def acquire(self) -> bool:
        """Become, or stay, the owner. False while another one is."""
        await self._leases.update_one({"_id": self.instance}, {"$setOnInsert": {"epoch": 0}}, upsert=True)
        held = await self._leases.find_one({"_id": self.instance})
        free: list[dict[str, Any]] = [{"owner": None}, {"owner": self._owner}, {"$expr": _EXPIRED}]
        if held is not None and _is_gone(held):
            free.append({"owner": held["owner"]})
        found = await self._leases.find_one_and_update(
            {"_id": self.instance, "$or": free},
            [
                {
                    "$set": {
                        "epoch": {"$cond": [{"$eq": ["$owner", self._owner]}, "$epoch", {"$add": ["$epoch", 1]}]},
                        "owner": self._owner,
                        "machine": MACHINE,
                        "pid": os.getpid(),
                        "expires_at": {"$add": ["$$NOW", int(LEASE_SECONDS * 1000)]},
                    }
                }
            ],
            return_document=ReturnDocument.AFTER,
        )
        self.epoch = found["epoch"] if found else 0
        return found is not None

    async def renew(self, told: Mapping[str, Any] = EMPTY) -> bool:
        """Stay the owner for another while. False if somebody else has become it. ``told``: what to say beside it."""
        renewed = await self._leases.update_one(
            {"_id": self.instance, "owner": self._owner, "epoch": self.epoch},
            [
                {
                    "$set": {
                        "expires_at": {"$add": ["$$NOW", int(LEASE_SECONDS * 1000)]},
                        **{field: {"$literal": value} for field, value in told.items()},
                    }
                }
            ],
        )
        return renewed.matched_count == 1

    async def release(self) -> None:
        """Let somebody else have it at once."""
        await self._leases.update_one(
            {"_id": self.instance, "owner": self._owner}, {"$set": {"owner": None, "expires_at": None}}
        )


def _is_gone(held: dict[str, Any]) -> bool:
    if held.get("machine") != MACHINE or held.get("pid") == os.getpid():
        return False
    try:
        return psutil.Process(held["pid"]).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
