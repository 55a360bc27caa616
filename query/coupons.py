"""HTTP of coupons: members see those that they hold, staff what was defined and how it is taken up."""

from typing import Annotated, Any, Literal

import pymongo
from fastapi import APIRouter, Query
from starlette.responses import Response

from query.coupon_answers import CouponAnswer, CouponPage, MemberCouponPage
from query.edge import Cursor, Customer, Id, Limit, Staff, documented
from query.loader import StoredDocument
from query.pages import after, page
from query.reading import RequestReads
from query.rendering import is_parked, list_item, renamed
from runtime.cursors import Cursors
from runtime.mongo import ReadCollection

router = APIRouter(tags=["coupons"])

HELD, DEFINED = "member_coupons", "coupon_catalog"

State = Literal["ISSUED", "USED"]


async def list_held(
    coupons: ReadCollection,
    member_id: str,
    state: State | None,
    last: tuple[str, ...] | None,
    limit: int,
) -> list[StoredDocument]:
    """A member's coupons, issued last first: their ids sort by time."""
    query: dict[str, Any] = {"member_id": member_id}
    if state is not None:
        query["state"] = state
    if last is not None:
        query["_id"] = {"$lt": last[0]}
    newest_first = [("_id", pymongo.DESCENDING)]
    return await coupons.find(query, {"member_id": 0}, sort=newest_first, limit=limit).to_list(None)


async def list_defined(coupons: ReadCollection, last: tuple[str, ...] | None, limit: int) -> list[StoredDocument]:
    """Coupons by code."""
    query = {} if last is None else {"_id": {"$gt": last[0]}}
    return await coupons.find(query, sort=[("_id", pymongo.ASCENDING)], limit=limit).to_list(None)


@router.get("/members/me/coupons", response_model=MemberCouponPage, summary="My coupons", **documented(401, 403))
async def my_coupons(
    caller: Customer,
    reads: RequestReads,
    state: Annotated[State | None, Query(description="Only those that can be used, or are used")] = None,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> Response:
    """Pages of the caller's coupons; pass `next_cursor` with the same state to go on."""
    reading = await reads.of(HELD)
    cursors = Cursors(reading.log.deployment_id, "my coupons", (caller.subject, state))
    found = await list_held(reading.collection(HELD), caller.subject, state, after(cursor, cursors), limit + 1)
    items = [list_item(coupon, "coupon_id") for coupon in found]
    return reading.answer(page(items, limit, lambda item: cursors.mint(item["coupon_id"])))


@router.get(
    "/coupons/{coupon_code}",
    response_model=CouponAnswer,
    summary="One coupon",
    **documented(401, 403, 404),
)
async def coupon(coupon_code: Id, _: Staff, reads: RequestReads) -> Response:
    """What staff defined, how many were issued, and how many are used."""
    reading = await reads.of(DEFINED)
    found = await reading.find(DEFINED, coupon_code)
    if found is None:
        raise reading.not_found("coupon")
    return reading.answer(renamed(found, "coupon_code"), parked=is_parked(found))


@router.get("/coupons", response_model=CouponPage, summary="Coupons by code", **documented(401, 403))
async def coupons(_: Staff, reads: RequestReads, limit: Limit = 20, cursor: Cursor = None) -> Response:
    """Pages of coupons; pass `next_cursor` to go on."""
    reading = await reads.of(DEFINED)
    cursors = Cursors(reading.log.deployment_id, "coupons", ())
    found = await list_defined(reading.collection(DEFINED), after(cursor, cursors), limit + 1)
    items = [list_item(coupon, "coupon_code") for coupon in found]
    return reading.answer(page(items, limit, lambda item: cursors.mint(item["coupon_code"])))
