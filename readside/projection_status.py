"""What ``readside projections status`` prints: read from MongoDB alone, so that it can tell of a dead projector."""

from datetime import datetime
from typing import Any

import msgspec

from projector.registry import REGISTRY
from projector.store import CHECKPOINTS
from query.freshness import Checkpoint, LogState, health, lag_seconds
from runtime.clock import now
from runtime.mongo import Database

_ROLES = ("active", "building", "previous")


async def status_lines(database: Database) -> list[str]:
    """A line on the projector, a heading, and one line for each instance."""
    entries = [one async for one in database[REGISTRY].find()]
    told = next((one for one in entries if one["_id"] == "$log"), None)
    if told is None:
        return ["No projector has been here yet."]
    log, at = msgspec.convert(told, LogState), now()
    roles = {entry.get(role): role for entry in entries for role in _ROLES}
    checkpoints = [
        msgspec.convert(one, Checkpoint, strict=False) async for one in database[CHECKPOINTS].find().sort("_id", 1)
    ]
    heading = (
        f"{'projection':<28} {'state':<9} {'health':<9} {'position':>12} {'head':>12} {'lag':>8} {'seconds':>9}"
        f" {'parked':>7}"
    )
    return [_projector(log, at), heading, *(_line(one, roles, log, at) for one in checkpoints)]


def _projector(log: LogState, at: datetime) -> str:
    beat = (at - log.heartbeat_at).total_seconds()
    looked: Any = None if log.sequenced_at is None else (at - log.sequenced_at).total_seconds()
    sequenced = "never" if looked is None else f"{max(0.0, looked):.1f} s ago"
    return f"projector heard of {max(0.0, beat):.1f} s ago; outbox looked at {sequenced}"


def _line(checkpoint: Checkpoint, roles: dict[Any, str], log: LogState, at: datetime) -> str:
    role = roles.get(checkpoint.instance, "retired")
    head = max(log.head, checkpoint.position)
    return (
        f"{checkpoint.instance:<28} {role:<9} {health(checkpoint, role, log, at):<9} {checkpoint.position:>12,}"
        f" {head:>12,} {head - checkpoint.position:>8,} {lag_seconds(checkpoint, log, at):>9,.1f}"
        f" {checkpoint.parked_sequences:>7,}"
    )
