"""What ``readside reactions status`` prints: read from MongoDB alone, so that it can tell of a dead projector.

Each owner says how it is with every renewal of its lease, once a second; the checkpoint tells how far it has come.
"""

from datetime import datetime
from typing import Any

import msgspec

from projector.lease import LEASES
from projector.reacting.progress import REACTIONS, instance_of
from projector.registry import REGISTRY
from query.freshness import Checkpoint, LogState, lag_seconds
from runtime.clock import now
from runtime.mongo import Database


async def status_lines(database: Database) -> list[str]:
    """A heading, one line for each reaction, and one for each that does not get on."""
    told = await database[REGISTRY].find_one({"_id": "$log"})
    if told is None:
        return ["No projector has been here yet."]
    log, at = msgspec.convert(told, LogState), now()
    found = [one async for one in database[REACTIONS].find().sort("_id", 1)]
    leases = {one["_id"]: one async for one in database[LEASES].find({"_id": {"$regex": "^reaction:"}})}
    heading = (
        f"{'reaction':<28} {'state':<9} {'health':<9} {'position':>12} {'head':>12} {'lag':>8} {'seconds':>9}"
        f" {'in flight':>9} {'parked':>7}"
    )
    owners = {one["_id"]: _owner(leases.get(instance_of(one["_id"])), at) for one in found}
    troubles = [f"{name}: {owner['trouble']}" for name, owner in owners.items() if owner.get("trouble")]
    return [heading, *(_line(one, owners[one["_id"]], log, at) for one in found), *troubles]


def _owner(lease: dict[str, Any] | None, at: datetime) -> dict[str, Any]:
    """What the owner last said of itself; nothing where nobody is the owner."""
    if lease is None or lease.get("owner") is None or lease["expires_at"] < at:
        return {}
    return lease


def _line(reaction: dict[str, Any], owner: dict[str, Any], log: LogState, at: datetime) -> str:
    name, position = reaction["_id"], reaction["position"]
    state = "active" if owner else "stopped"
    checkpoint = Checkpoint(instance=name, view=name, version=1, position=position)
    head = max(log.head, position)
    return (
        f"{name:<28} {state:<9} {owner.get('health', state):<9} {position:>12,} {head:>12,} {head - position:>8,}"
        f" {lag_seconds(checkpoint, log, at):>9,.1f} {owner.get('in_flight', 0):>9,} {reaction['parked_sequences']:>7,}"
    )
