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


def lag_seconds(checkpoint: Checkpoint, log: LogState, now: datetime) -> float:
    """How old the view may be."""
    silence = (now - log.heartbeat_at).total_seconds()
    unheard = silence if silence > HEARTBEAT_PATIENCE_SECONDS else 0.0
    return max(0.0, unheard, _behind_seconds(checkpoint, log, now))


def _behind_seconds(checkpoint: Checkpoint, log: LogState, now: datetime) -> float:
    if checkpoint.position >= log.head:
        return 0.0
    reaches_back = bool(log.samples) and log.samples[0][0] <= checkpoint.position
    if not reaches_back and checkpoint.as_of is not None:
        return (now - checkpoint.as_of).total_seconds()
    missing = (at for position, at in log.samples if position > checkpoint.position)
    return (now - next(missing, log.heartbeat_at)).total_seconds()
