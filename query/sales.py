"""Reading the sales statistics: ranges of documents, summed where the view has no document of the size asked for.

Documents are found by ranges of their ids alone (see `views.sales_statistics`). Rows by product or category and the
totals beside them are read from one snapshot: otherwise an order paid between the two reads would make a sum that
does not add up.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

import pymongo
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.command_cursor import AsyncCommandCursor
from pymongo.asynchronous.cursor import AsyncCursor

from query.days import Span, cover
from query.loader import StoredDocument
from runtime.mongo import ReadCollection
from views.sales_statistics import SalesCounters, document_id

Granularity = Literal["hour", "day", "week", "month"]
Group = Literal["none", "product", "category"]
Row = dict[str, Any]
Statistics = ReadCollection
Pipeline = list[dict[str, Any]]

COUNTERS = tuple(name for name in SalesCounters.__struct_fields__ if name != "id")
ROWS_AT_ONCE = 2_000
BY_ID = [("_id", pymongo.ASCENDING)]
_AFTER_EVERY_SUCCESSOR = "~"
"""What follows a period in an id (``|``, or ``T`` and the hour) sorts before this."""

_SUMS = {name: {"$sum": f"${name}"} for name in COUNTERS}
_LABELS: Mapping[str, Any] = {
    "week": {
        "$dateToString": {
            "format": "%Y-%m-%d",
            "date": {
                "$dateTrunc": {
                    "date": {"$dateFromString": {"dateString": "$period", "format": "%Y-%m-%d"}},
                    "unit": "week",
                    "startOfWeek": "monday",
                }
            },
        }
    },
    "month": {"$substrBytes": ["$period", 0, 7]},
}


@dataclass(frozen=True, slots=True)
class SalesQuery:
    """Which sales, from the first day to the last, both included."""

    first: date
    last: date
    granularity: Granularity
    group: Group

    @property
    def days(self) -> int:
        """How many days that is."""
        return (self.last - self.first).days + 1


def id_range(group: str, span: Span) -> dict[str, Any]:
    """The documents of a span: a range of ids."""
    prefix = document_id(span.granularity, group, "", "")
    return {"_id": {"$gte": prefix + span.first, "$lt": prefix + span.last + _AFTER_EVERY_SUCCESSOR}}


def summed_rows(collection: str, query: SalesQuery) -> Pipeline:
    """Weeks from days; months from months and the days at the edges."""
    spans = [_span("day", query)] if query.granularity == "week" else cover(query.first, query.last)
    return [
        *_counted(collection, query.group, spans),
        {"$group": {"_id": {"period": _LABELS[query.granularity], "key": "$key"}, **_SUMS}},
        {"$sort": {"_id.period": 1, "_id.key": 1}},
        {"$set": {"period": "$_id.period", "key": "$_id.key"}},
    ]


def summed_total(collection: str, first: date, last: date) -> Pipeline:
    """One document: every order counted once."""
    return [*_counted(collection, "none", cover(first, last)), {"$group": {"_id": None, **_SUMS}}]


def best_sellers(collection: str, first: date, last: date, sort: str, limit: int) -> Pipeline:
    """The products that sold best; equals by id."""
    return [
        *_counted(collection, "product", cover(first, last)),
        {"$group": {"_id": "$key", **_SUMS}},
        {"$match": {"paid_orders": {"$gt": 0}}},
        {"$set": {"net_sales": {"$subtract": ["$gross_sales", "$canceled_amount"]}}},
        {"$sort": {sort: -1, "_id": 1}},
        {"$limit": limit},
    ]


async def rows(
    statistics: Statistics, query: SalesQuery, session: AsyncClientSession | None = None
) -> AsyncIterator[list[Row]]:
    """Rows by period, then key, some thousands at a time: the event loop is for others too."""
    cursor: AsyncCursor[StoredDocument] | AsyncCommandCursor[StoredDocument]
    start = None
    if query.granularity in ("hour", "day"):
        stored = id_range(query.group, _span(query.granularity, query))
        cursor = statistics.find(stored, sort=BY_ID, batch_size=ROWS_AT_ONCE, session=session)
        start = len(document_id(query.granularity, query.group, "", ""))
    else:
        summed = summed_rows(statistics.name, query)
        cursor = await statistics.aggregate(summed, batchSize=ROWS_AT_ONCE, session=session)
    while batch := await cursor.to_list(ROWS_AT_ONCE):
        yield [_row(document, query.group, start) for document in batch]


async def total(statistics: Statistics, query: SalesQuery, session: AsyncClientSession | None = None) -> Row:
    """The counters of the whole range."""
    cursor = await statistics.aggregate(summed_total(statistics.name, query.first, query.last), session=session)
    found = await cursor.to_list(1)
    return with_net_sales(found[0] if found else {})


def with_net_sales(counters: Mapping[str, Any]) -> Row:
    """The counters in order, those that nothing was ever added to as well."""
    row: Row = {name: counters.get(name, 0) for name in COUNTERS}
    row["net_sales"] = row["gross_sales"] - row["canceled_amount"]
    return row


@asynccontextmanager
async def one_moment(statistics: Statistics) -> AsyncIterator[AsyncClientSession]:
    """A session all of whose reads see the same moment."""
    async with statistics.database.client.start_session(snapshot=True) as session:
        yield session


def _span(granularity: Literal["hour", "day"], query: SalesQuery) -> Span:
    return Span(granularity, query.first.isoformat(), query.last.isoformat())


def _counted(collection: str, group: str, spans: Sequence[Span]) -> Pipeline:
    # A union of ranges, not an $or of them: each is an index scan of its own, whatever the planner thinks.
    first, *others = (_of_span(group, span) for span in spans)
    return [*first, *({"$unionWith": {"coll": collection, "pipeline": other}} for other in others)]


def _of_span(group: str, span: Span) -> Pipeline:
    start = len(document_id(span.granularity, group, "", ""))
    length = len(span.first)
    return [
        {"$match": id_range(group, span)},
        {
            "$set": {
                "period": {"$substrBytes": ["$_id", start, length]},
                # An id may hold the separator itself: the key is all that follows.
                "key": {"$substrBytes": ["$_id", start + length + 1, -1]},
            }
        },
    ]


def _row(document: StoredDocument, group: Group, start: int | None) -> Row:
    if start is None:
        period, key = document["period"], document["key"]
    else:
        period, _, key = document["_id"][start:].partition("|")
    return {"period": period, "key": None if group == "none" else key, **with_net_sales(document)}
