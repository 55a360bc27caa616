"""The event store: an outbox that is a queue, and an event log that is the truth.

What it guarantees
    Events appended in a transaction exist exactly when that transaction commits. In the log they have consecutive
    positions from 1; the events of one aggregate stand in the order of their versions; nothing visible is skipped,
    however late it committed; and nobody waits for anybody's slow transaction.

How
    Ids are drawn before commits become visible, so "after the last id" would one day skip a row, "below the oldest
    running transaction" would make everybody wait for the slowest, and "by transaction id" swaps versions of one
    aggregate. Instead `Sequencer` moves what is visible from ``outbox`` to ``event_log``, under a lock that an
    *earlier* statement of the same transaction took. What is visible is closed under cause: if version 2 of an
    order can be seen, so can version 1, with a smaller id.

    A batch that took all that was visible marks its last event with the ``pg_snapshot`` of the statement: up to
    that position the log is complete for every transaction which that snapshot sees. See `runtime.consistency`.

What must not be changed
    The unit of work writes its aggregates *before* it appends: only then does the row lock on the aggregate order
    the ids of two transactions that change it.
"""

from eventstore.archives import ArchiveUnavailable
from eventstore.doorbell import Doorbell, listen
from eventstore.log import EventLog
from eventstore.outbox import PendingEvent, append
from eventstore.sequencer import Sequenced, Sequencer
from eventstore.stored import Filter, StoredEvent
from eventstore.watch import LogWatch, Page, read_page

__all__ = [
    "ArchiveUnavailable",
    "Doorbell",
    "EventLog",
    "Filter",
    "LogWatch",
    "Page",
    "PendingEvent",
    "Sequenced",
    "Sequencer",
    "StoredEvent",
    "append",
    "listen",
    "read_page",
]
