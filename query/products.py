"""HTTP of the catalog as the shop window shows it: open to everybody."""

from typing import Annotated, Any

import pymongo
from fastapi import APIRouter, Query
from pydantic import StringConstraints
from starlette.responses import Response

from query.answers import ProductAnswer, ProductPage
from query.edge import Cursor, Id, Limit, documented
from query.loader import StoredDocument
from query.pages import after, page
from query.reading import PUBLIC, RequestReads
from query.rendering import is_parked, list_item, renamed
from runtime.cursors import Cursors
from runtime.mongo import ReadCollection

router = APIRouter(prefix="/products", tags=["products"])

VIEW = "product_catalog"

Category = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]*$")]


async def list_products(
    catalog: ReadCollection, category: str | None, last: tuple[str, ...] | None, limit: int
) -> list[StoredDocument]:
    """Products by id."""
    query: dict[str, Any] = {}
    if category is not None:
        query["category"] = category
    if last is not None:
        query["_id"] = {"$gt": last[0]}
    return await catalog.find(query, sort=[("_id", pymongo.ASCENDING)], limit=limit).to_list(None)


@router.get(
    "/{product_id}",
    response_model=ProductAnswer,
    response_model_exclude_none=True,
    summary="One product",
    **documented(404),
)
async def product(product_id: Id, reads: RequestReads) -> Response:
    """What it is, what it costs, and how many are left."""
    reading = await reads.of(VIEW)
    found = await reading.find(VIEW, product_id)
    if found is None:
        raise reading.not_found("product")
    return reading.answer(renamed(found, "product_id"), PUBLIC, parked=is_parked(found))


@router.get("", response_model=ProductPage, summary="Products by id", **documented())
async def products(
    reads: RequestReads,
    category: Annotated[Category | None, Query(description="Only of this category, spelled exactly so")] = None,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> Response:
    """Pages of products; pass `next_cursor` with the same category to go on."""
    reading = await reads.of(VIEW)
    cursors = Cursors(reading.log.deployment_id, "products", (category,))
    found = await list_products(reading.collection(VIEW), category, after(cursor, cursors), limit + 1)
    return reading.answer(
        page(
            [list_item(product, "product_id") for product in found],
            limit,
            lambda item: cursors.mint(item["product_id"]),
        ),
        PUBLIC,
    )
