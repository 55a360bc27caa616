"""HTTP of orders: one in full, and lists of them, newest first.

Pages go on after the last item seen, not after a number of items: an order that arrives meanwhile shifts nothing.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import pymongo
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from query.answers import OrderDetailAnswer, OrderPage
from query.days import end_of, start_of
from query.edge import Cursor, CustomerOrStaff, Id, Limit, Live, Status, documented
from query.etags import etag_of, matches
from query.loader import StoredDocument
from query.pages import after, beyond, page
from query.reading import PRIVATE, Reading, RequestReads
from query.remembered import Rendered
from query.rendering import json_bytes, list_item, rendered
from query.times import Moment, read_moment
from runtime.clock import rfc3339
from runtime.cursors import Cursors
from runtime.mongo import ReadCollection
from runtime.problems import invalid_input
from runtime.tokens import Caller

router = APIRouter(prefix="/orders", tags=["orders"])

VIEW = "order_detail"

SUMMARY = {
    "status": 1,
    "version": 1,
    "currency": 1,
    "orderer": 1,
    "total_amount": 1,
    "discount_amount": 1,
    "points_used": 1,
    "payment_amount": 1,
    "line_count": {"$size": "$lines"},
    "units": {"$sum": "$lines.quantity"},
    "placed_at": 1,
    "updated_at": 1,
    "_parked": 1,
}
NEWEST_FIRST = [("placed_at", pymongo.DESCENDING), ("_id", pymongo.DESCENDING)]


@dataclass(frozen=True, slots=True)
class OrderFilter:
    """Which orders; ``since`` is included, and so is ``until`` unless it is the start of the day after."""

    member_id: str | None = None
    status: str | None = None
    since: str | None = None
    until: str | None = None
    until_is_included: bool = True

    def terms(self) -> tuple[str | None, ...]:
        """What a cursor is bound to."""
        return (self.member_id, self.status, self.since, self.until, "in" if self.until_is_included else "ex")

    def query(self, last: tuple[str, ...] | None) -> dict[str, Any]:
        """As a query for what comes after the order with this placing time and id."""
        query: dict[str, Any] = {}
        if self.member_id is not None:
            query["orderer.member_id"] = self.member_id
        if self.status is not None:
            query["status"] = self.status
        placed: dict[str, str] = {}
        if self.since is not None:
            placed["$gte"] = self.since
        if self.until is not None:
            placed["$lte" if self.until_is_included else "$lt"] = self.until
        if last is not None:
            query = {**query, **beyond("placed_at", last)}
            placed = {name: bound for name, bound in placed.items() if name == "$gte"} | query["placed_at"]
        if placed:
            query["placed_at"] = placed
        return query


async def list_orders(
    orders: ReadCollection, only: OrderFilter, last: tuple[str, ...] | None, limit: int
) -> list[StoredDocument]:
    """Summaries of orders, newest first."""
    return await orders.find(only.query(last), SUMMARY, sort=NEWEST_FIRST, limit=limit).to_list(None)


@router.get(
    "/{order_id}",
    response_model=OrderDetailAnswer,
    summary="One order in full",
    **documented(401, 403, 404, if_none_match=True),
)
async def order_detail(order_id: Id, caller: CustomerOrStaff, reads: RequestReads, request: Request) -> Response:
    """The order as its buyer and the shop's staff see it."""
    reading = await reads.of(VIEW)
    order = await reading.rendered(VIEW, order_id, _rendered)
    if order is None or not _may_see(caller, order.owner):
        raise reading.not_found("order")
    etag = etag_of(order.version)
    headers = {**PRIVATE, "ETag": etag}
    if matches(etag, request.headers.getlist("if-none-match")):
        return reading.not_modified(headers, parked=order.is_parked)
    return reading.answer_rendered(order.body, headers, parked=order.is_parked)


@router.get("", response_model=OrderPage, summary="Orders, newest first", **documented(401, 403))
async def orders(
    caller: CustomerOrStaff,
    reads: RequestReads,
    live: Live,
    member_id: Annotated[Id | None, Query(description="Whose; a customer sees no orders but their own")] = None,
    status: Status | None = None,
    placed_from: Annotated[
        Moment | None, Query(description="An RFC 3339 time, or a day of the business time zone")
    ] = None,
    placed_to: Annotated[
        Moment | None, Query(description="As `placed_from`; the time, or the whole day, is included")
    ] = None,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> Response:
    """Pages of summaries; pass `next_cursor` with the same filters to go on."""
    reading = await reads.of(VIEW)
    only = _filter(ZoneInfo(reading.log.time_zone), member_id, status, placed_from, placed_to)
    if not caller.has("staff"):
        if member_id not in (None, caller.subject):
            return reading.answer({"items": [], "next_cursor": None})
        only = OrderFilter(caller.subject, only.status, only.since, only.until, only.until_is_included)
    cursors = Cursors(reading.log.deployment_id, "orders", only.terms())
    last = after(cursor, cursors)

    async def computed() -> bytes:
        return json_bytes(await _page(reading, only, last, limit, cursors))

    key = ("orders", only, last, limit, reading.checkpoint(VIEW), reading.log.deployment_id)
    return reading.answer_rendered(await live.shared.answer(key, computed))


async def visible_order(reading: Reading, order_id: str, caller: Caller) -> StoredDocument:
    """The order, if there is one and this caller may see it. Raises a `Problem`, the same for both."""
    order = await reading.find(VIEW, order_id)
    if order is None or not _may_see(caller, _owner(order)):
        raise reading.not_found("order")
    return order


async def _page(
    reading: Reading, only: OrderFilter, last: tuple[str, ...] | None, limit: int, cursors: Cursors
) -> dict[str, Any]:
    found = await list_orders(reading.collection(VIEW), only, last, limit + 1)
    return page(
        [list_item(order, "order_id") for order in found],
        limit,
        lambda item: cursors.mint(item["placed_at"], item["order_id"]),
    )


def _rendered(order: StoredDocument) -> Rendered:
    return rendered(order, "order_id", owner=_owner(order))


def _owner(order: StoredDocument) -> str:
    member_id: str = order["orderer"]["member_id"]
    return member_id


def _may_see(caller: Caller, owner: str | None) -> bool:
    return caller.has("staff") or owner == caller.subject


def _filter(
    zone: ZoneInfo, member_id: str | None, status: str | None, placed_from: str | None, placed_to: str | None
) -> OrderFilter:
    since = None if placed_from is None else _instant(read_moment(placed_from), zone)
    until, included = None, True
    if placed_to is not None:
        given = read_moment(placed_to)
        included = isinstance(given, datetime)
        until = _instant(given, zone) if included else rfc3339(end_of(given, zone))
    if since is not None and until is not None and (since > until or (since == until and not included)):
        raise invalid_input((["query", "placed_from"], "placed_from is after placed_to"))
    return OrderFilter(member_id, status, since, until, included)


def _instant(given: date | datetime, zone: ZoneInfo) -> str:
    moment = given if isinstance(given, datetime) else start_of(given, zone)
    return rfc3339(moment.astimezone(UTC))
