"""Reconciliation: the orders' totals by SQL against the totals of the sales statistics, to the minor unit.

It shares no code with the folds, and does not trust the log: an event that was never written, or twice, shows here and
nowhere else. It stands in this room because it needs both sides, which never import each other.

What is compared is of one moment, however fast both move: statistics with their checkpoint are read in one snapshot of
MongoDB; then, in one snapshot of Postgres, the orders, the head of the log, and the outbox. What lies between the two
(the log from the checkpoint to that head, and the outbox), and what the view may lack, is folded and added.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing

import msgspec
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from command.ordering.totals import sales_totals
from eventstore import EventLog
from eventstore.committed import head_and_outbox
from eventstore.log import StoredEvent
from projector.differences import Json
from projector.moments import Moment, moment
from projector.refolding import Refold
from projector.registry import Registry
from projector.scratch import Scratch
from projector.verification import business_zone
from runtime.errors import ReadsideError
from runtime.mongo import Database
from runtime.postgres import make_engine, postgres_url
from runtime.settings import Settings
from views.kit import Calendar
from views.sales_statistics import document_id, view

_MOST_BETWEEN = 100_000
_MOST_SKIPPED = 1_000
_BATCH = 2_000
# Every sale is booked once in each month's document of all, and shared out over those of the categories.
_GROUPS = {"none": "", "category": " by category"}
_SHARED_OUT = ("placed_amount", "gross_sales", "units", "canceled_amount")


class NotComparable(ReadsideError):
    """The two sides cannot be compared just now; why, in a sentence."""


class Total(msgspec.Struct, frozen=True):
    """One total on both sides."""

    name: str
    orders: int
    statistics: int

    @property
    def difference(self) -> int:
        """What the statistics have too much."""
        return self.statistics - self.orders


class Reconciliation:
    """For the projector's audit: it knows no orders' tables, so it is handed this."""

    projection = view.name

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def differences(self, database: Database, event_log: EventLog) -> Mapping[str, int]:
        """What the statistics have too much, by total. Raises as `reconciled` does."""
        engine = make_engine(postgres_url(self._settings), "reconciliation", pool_size=1)
        try:
            totals = await reconciled(database, event_log, engine, self._settings)
        except SQLAlchemyError as error:
            # The daemon knows the driver's errors, and not the wrapping of them.
            raise ConnectionError(f"the orders cannot be read: {type(error).__name__}") from error
        finally:
            await engine.dispose()
        return {total.name: total.difference for total in totals}


async def reconciled(
    database: Database, event_log: EventLog, engine: AsyncEngine, settings: Settings
) -> Sequence[Total]:
    """The totals of both sides, of one moment. Raises `NotComparable`, `ReadsideError`, and what the drivers raise."""
    instance = (await Registry(database).entry(view.name)).active
    months = {"$regex": f"^month\\|({'|'.join(_GROUPS)})\\|"}
    seen = await moment(database, view, instance, {"_id": months})
    # Later than the statistics, so that the log has all that they have.
    async with engine.connect() as connection:
        connection = await connection.execution_options(isolation_level="REPEATABLE READ")
        head, waiting = await head_and_outbox(connection, _MOST_BETWEEN)
        if not 0 <= head - seen.position + len(waiting) < _MOST_BETWEEN:
            raise NotComparable(f"the statistics stand at {seen.position:,}, and the log ends at {head:,}.")
        orders = await sales_totals(connection)
    with closing(Scratch()) as scratch:
        refold = Refold(event_log, view, Calendar(await business_zone(database, settings)), scratch)
        await _fold_what_lies_between(event_log, refold, seen, head, waiting)
        between = list(dict(scratch.between(None, None)).values())
    documents = [*seen.documents.values(), *between]
    return [
        Total(f"{measure}{said}", orders[measure], _sum(documents, group, measure))
        for group, said in _GROUPS.items()
        for measure in orders
        if group == "none" or measure in _SHARED_OUT
    ]


async def _fold_what_lies_between(
    event_log: EventLog, refold: Refold, seen: Moment, head: int, waiting: Sequence[StoredEvent]
) -> None:
    skipped = sorted(position for position in seen.skipped if position <= seen.position)
    if len(skipped) > _MOST_SKIPPED:
        raise NotComparable(f"{len(skipped):,} events are parked or discarded.")
    for position in skipped:
        await refold.add(await event_log.get(position - 1, 1))
    refold.position = seen.position
    await refold.advance(head, frozenset())
    for start in range(0, len(waiting), _BATCH):
        await refold.add(waiting[start : start + _BATCH])
    if refold.failures:
        raise NotComparable(f"an event cannot be folded: {refold.failures[0]}")


def _sum(documents: Iterable[Json], group: str, measure: str) -> int:
    prefix = document_id("month", group, "", "")
    return sum(document.get(measure, 0) for document in documents if document["_id"].startswith(prefix))
