"""HTTP of the sales statistics, in business time: which hour, day, week or month a sale is booked in.

Amounts by product, by category and in total add up to the same. Numbers of orders do not: an order that holds three
products stands in three rows, and counts once in ``totals``.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date, datetime, timedelta
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import msgspec
import pymongo
from fastapi import APIRouter, Query
from pymongo.asynchronous.client_session import AsyncClientSession
from starlette.responses import Response

from query import sales
from query.answers import BestSellers, SalesAnswer
from query.edge import Limit, Live, Staff, documented
from query.reading import Reading, RequestReads
from query.rendering import json_bytes
from query.sales import COUNTERS, Granularity, Group, Row, SalesQuery, Statistics
from query.times import Day
from runtime.clock import rfc3339
from runtime.problems import invalid_input
from runtime.times import read_day

router = APIRouter(prefix="/statistics", tags=["statistics"])

VIEW, CATALOG = "sales_statistics", "product_catalog"

DEFAULT_DAYS = 30
MOST_DAYS = 100 * 366
MOST_DAYS_BY_HOUR = 366
MOST_ROWS = 500_000
_PATIENCE_SECONDS = 25.0
"""A year of products by day is some hundred thousand documents."""

_DAYS = f"of the business time zone, included; by default the last {DEFAULT_DAYS} days, today among them"
From = Annotated[Day | None, Query(alias="from", description=f"First day {_DAYS}")]
To = Annotated[Day | None, Query(alias="to", description=f"Last day {_DAYS}")]


@router.get("/sales", response_model=SalesAnswer, summary="Sales per period", **documented(401, 403))
async def sales_per_period(
    _: Staff,
    reads: RequestReads,
    live: Live,
    first_day: From = None,
    last_day: To = None,
    granularity: Granularity = "day",
    group_by: Group = "none",
) -> Response:
    """Rows by period and key; weeks and months at the edges hold only the days in the range."""
    reading = await reads.of(VIEW)
    query = sales_query(reading, first_day, last_day, granularity, group_by)

    async def computed() -> bytes:
        return json_bytes(await sales_answer(reading, query))

    key = ("sales", query, reading.checkpoint(VIEW), reading.time_zone_of(VIEW), reading.log.currency)
    return reading.answer_rendered(await live.shared.answer(key, computed))


@router.get("/products", response_model=BestSellers, summary="Best sellers", **documented(401, 403))
async def best_sellers(
    _: Staff,
    reads: RequestReads,
    first_day: From = None,
    last_day: To = None,
    sort: Annotated[Literal["net_sales", "units"], Query(description="What counts as best")] = "net_sales",
    limit: Limit = 10,
) -> Response:
    """The products paid for in the range, the best first; of equals the smaller id."""
    reading = await reads.of(VIEW, CATALOG)
    first, last = _range(reading, first_day, last_day)
    statistics = reading.collection(VIEW)
    with pymongo.timeout(_PATIENCE_SECONDS):
        cursor = await statistics.aggregate(sales.best_sellers(statistics.name, first, last, sort, limit))
        found = await cursor.to_list(limit)
        names = await _names(reading, [product["_id"] for product in found])
    items = [_item(product, names.get(product["_id"])) for product in found]
    return reading.answer(
        {
            "items": items,
            "currency": reading.log.currency,
            "time_zone": reading.time_zone_of(VIEW),
            "as_of": _as_of(reading),
        }
    )


def sales_query(
    reading: Reading, first_day: str | None, last_day: str | None, granularity: Granularity, group_by: Group
) -> SalesQuery:
    """What a caller asks for, of the days that it means today. Raises a `Problem`."""
    query = SalesQuery(*_range(reading, first_day, last_day), granularity, group_by)
    if granularity == "hour" and query.days > MOST_DAYS_BY_HOUR:
        raise invalid_input((["query", "from"], f"at most {MOST_DAYS_BY_HOUR} days by the hour"))
    return query


async def sales_answer(reading: Reading, query: SalesQuery, *, most_rows: int = MOST_ROWS) -> Row:
    """The answer, with its rows rendered. Raises a `Problem` where there are too many."""
    with pymongo.timeout(_PATIENCE_SECONDS):
        rows, totals = await _rows_and_totals(reading.collection(VIEW), query, most_rows)
    return {
        "granularity": query.granularity,
        "time_zone": reading.time_zone_of(VIEW),
        "currency": reading.log.currency,
        "rows": rows,
        "totals": totals,
        "as_of": _as_of(reading),
    }


async def _rows_and_totals(statistics: Statistics, query: SalesQuery, most_rows: int) -> tuple[msgspec.Raw, Row]:
    rendered: list[bytes] = []
    sums, count = dict.fromkeys(COUNTERS, 0), 0
    async with _session(statistics, query) as session:
        async for rows in sales.rows(statistics, query, session):
            count += len(rows)
            if count > most_rows:
                raise invalid_input((["query", "from"], f"more than {most_rows} rows; ask for less at once"))
            rendered.append(json_bytes(rows)[1:-1])
            for name in COUNTERS:
                sums[name] += sum([row[name] for row in rows])
        totals = sales.with_net_sales(sums) if query.group == "none" else await sales.total(statistics, query, session)
    return msgspec.Raw(b"[" + b",".join(rendered) + b"]"), totals


@asynccontextmanager
async def _session(statistics: Statistics, query: SalesQuery) -> AsyncIterator[AsyncClientSession | None]:
    # Rows that are their own total cannot contradict it: they need no snapshot, and save its round trip.
    if query.group == "none":
        yield None
        return
    async with sales.one_moment(statistics) as session:
        yield session


async def _names(reading: Reading, product_ids: list[str]) -> dict[str, str]:
    known = reading.collection(CATALOG).find({"_id": {"$in": product_ids}}, {"name": 1})
    return {product["_id"]: product["name"] for product in await known.to_list(None)}


def _item(product: dict[str, Any], name: str | None) -> Row:
    shown = ("paid_orders", "units", "gross_sales", "canceled_amount", "net_sales")
    return {"product_id": product["_id"], "name": name or None, **{field: product[field] for field in shown}}


def _range(reading: Reading, first_day: str | None, last_day: str | None) -> tuple[date, date]:
    today = datetime.now(ZoneInfo(reading.time_zone_of(VIEW))).date()
    last = today if last_day is None else read_day(last_day)
    first = last - timedelta(days=DEFAULT_DAYS - 1) if first_day is None else read_day(first_day)
    if first > last:
        raise invalid_input((["query", "from"], "from is after to"))
    if (last - first).days >= MOST_DAYS:
        raise invalid_input((["query", "from"], "more than 100 years"))
    return first, last


def _as_of(reading: Reading) -> str | None:
    at = reading.as_of(VIEW)
    return None if at is None else rfc3339(at)
