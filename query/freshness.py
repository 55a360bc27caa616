"""How far the views have come, and how old that makes an answer. Pure: no clock, no I/O.

Nothing here claims more than the projector has written. Lag is never understated: a view that is behind is as old as
the first event that it lacks (or as its last event, where no sample reaches back that far), and a projector that has
not been heard of for a while makes everything at least that old. Stuck must not look like idle.
"""

from datetime import datetime
from functools import lru_cache

import msgspec

from runtime.consistency import Snapshot

HEARTBEAT_PATIENCE_SECONDS = 5.0
"""The projector's heart beats once a second; missing for this long, it is taken for dead."""

STUCK_SECONDS = 10.0
"""A view that has been behind for this long, and has not moved for this long, is stuck: no batch takes a second."""

_snapshot = lru_cache(maxsize=256)(Snapshot.parse)


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """How far one instance of a view has come, as the projector wrote it together with the view's documents."""

    instance: str = msgspec.field(name="_id")
    view: str
    version: int
    position: int
    snapshot: str | None = None
    as_of: datetime | None = None
    parked_sequences: int = 0
    time_zone: str | None = None
    """Of the days that it counts; while a changed setting is being followed this is still the old one."""
    updated_at: datetime | None = None
    unparked: int | None = None
    """How often dead letters were settled: that changes documents without a change of the position."""

    def sees(self, transaction_id: int) -> bool:
        """Whether the view includes what this Postgres transaction wrote."""
        return self.snapshot is not None and _snapshot(self.snapshot).sees(transaction_id)


class LogState(msgspec.Struct, frozen=True, kw_only=True):
    """What the projector last told of the log: its head, when recent heads were reached, when it was alive."""

    deployment_id: str
    currency: str
    time_zone: str
    head: int
    samples: tuple[tuple[int, datetime], ...] = ()
    heartbeat_at: datetime
    sequenced_at: datetime | None = None

    def silence_seconds(self, now: datetime) -> float:
        """For how long no projector has said that it works, or none has been able to look for new events."""
        at = self.heartbeat_at if self.sequenced_at is None else min(self.heartbeat_at, self.sequenced_at)
        return (now - at).total_seconds()


def lag_seconds(checkpoint: Checkpoint, log: LogState, now: datetime) -> float:
    """How old the view may be."""
    return max(0.0, _unheard_seconds(log, now), _behind_seconds(checkpoint, log, now))


def health(checkpoint: Checkpoint, role: str, log: LogState, now: datetime) -> str:
    """``idle``: at the head; ``behind``: on its way there; ``building``: not served yet; ``stuck``: the head moved and
    it did not; ``stopped``: no projector is heard of, or none reaches Postgres."""
    if _unheard_seconds(log, now):
        return "stopped"
    if checkpoint.position >= log.head:
        return "idle"
    if role == "building":
        return "building"
    if role != "active":
        return "behind"  # it need not follow: the code that folded it may be gone
    moved_at = checkpoint.updated_at or checkpoint.as_of
    still = (now - moved_at).total_seconds() if moved_at is not None else 0.0
    return "stuck" if min(still, _behind_seconds(checkpoint, log, now)) > STUCK_SECONDS else "behind"


def _unheard_seconds(log: LogState, now: datetime) -> float:
    silence = log.silence_seconds(now)
    return silence if silence > HEARTBEAT_PATIENCE_SECONDS else 0.0


def _behind_seconds(checkpoint: Checkpoint, log: LogState, now: datetime) -> float:
    if checkpoint.position >= log.head:
        return 0.0
    reaches_back = bool(log.samples) and log.samples[0][0] <= checkpoint.position
    if not reaches_back and checkpoint.as_of is not None:
        return (now - checkpoint.as_of).total_seconds()
    missing = (at for position, at in log.samples if position > checkpoint.position)
    return (now - next(missing, log.heartbeat_at)).total_seconds()
