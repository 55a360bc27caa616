"""Which outbox ids need not be looked at any more, so that no scan has to walk over dead rows there.

Whoever holds an old snapshot (a backup), or a transaction open (a stuck command), keeps deleted outbox rows and their
index entries alive. Every transaction that has drawn an id up to ``last_id`` has a transaction id below that of a
sequencing transaction which gets its own later: the outbox assigns the transaction id before the id (see the order of
its columns). So once a snapshot shows which of those transactions still run, every other id up to ``last_id`` is
settled: moved, or rolled back.

A reader, however old its snapshot, runs no such transaction and holds up nothing. A slow writer does, and is
remembered by its id: as long as it runs, scans begin at ``high``; the first scan that can see its end, and with it its
rows, begins at ``low`` once more. That has to be decided in the statement that scans, by its own snapshot: decided
any earlier, the slow writer could commit in between, and a row that depends on its rows be numbered before them.
"""

import time
from collections.abc import Set

from runtime.consistency import Snapshot

_WORTH_IT = 1_000


class Floor:
    """Of one sequencer; begins at 0 with each connection, which costs one or two long scans."""

    def __init__(self, *, slow_seconds: float) -> None:
        self.low = 0
        """Every id up to here is settled."""
        self.high = 0
        """Every id up to here is settled, or belongs to a slow transaction."""
        self.slow: Set[int] = frozenset()
        self._slow_seconds = slow_seconds
        self._candidate: tuple[int, int, float] | None = None

    def wants_candidate(self, last_id: int) -> bool:
        """Whether it is worth a transaction id, in a run that moved nothing, to get ahead."""
        return self._candidate is None and last_id > self.high + _WORTH_IT

    def observe(self, last_id: int, own_id: int | None, snapshot: Snapshot, *, complete: bool) -> None:
        """A run moved all that its snapshot shows (``complete``) or part of it, from where `low` and `high` told it.

        ``last_id`` was read in a statement before the one that gave the run its transaction id, ``own_id``.
        """
        if complete:
            self._settle(snapshot)
        if self._candidate is None and own_id is not None:
            self._candidate = (last_id, own_id, time.monotonic())

    def _settle(self, snapshot: Snapshot) -> None:
        self.slow = frozenset(one for one in self.slow if not snapshot.sees(one))
        if self._candidate is not None:
            last_id, own_id, since = self._candidate
            running = frozenset(one for one in snapshot.running if one < own_id)
            # Mostly those that ran at the moment are gone at the next; who stays for long is put up with.
            if running <= self.slow or time.monotonic() - since >= self._slow_seconds:
                self.high, self.slow, self._candidate = last_id, running, None
        if not self.slow:
            self.low = self.high
