"""HTTP of posts: what members wrote about products, newest first; open to everybody."""

from typing import Annotated, Any, Literal

import pymongo
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from query.answers import Answer, ListItem
from query.edge import Cursor, Id, Limit, documented
from query.etags import etag_of, matches
from query.loader import StoredDocument
from query.pages import after, beyond, page
from query.reading import PUBLIC, RequestReads
from query.rendering import is_parked, list_item, renamed
from runtime.cursors import Cursors
from runtime.mongo import ReadCollection
from runtime.openapi import example

router = APIRouter(prefix="/posts", tags=["posts"])

VIEW = "posts"

NEWEST_FIRST = [("written_at", pymongo.DESCENDING), ("_id", pymongo.DESCENDING)]
_POST = {
    "post_id": "01a1fd9a-0f1b-7755-bf54-6e41f8a8e764",
    "product_id": "mug-blue",
    "product_name": "Mug, blue",
    "author": {"member_id": "01a1fd92-dea4-71e9-8101-fab87600b3ad", "name": "Ben"},
    "kind": "review",
    "title": "Keeps warm",
    "body": "For an hour, with a saucer on top.",
    "rating": 4,
    "version": 1,
    "written_at": "2026-11-21T09:07:03.332313Z",
    "edited_at": None,
}


class AuthorAnswer(Answer):
    """Who wrote, named as at that moment."""

    member_id: str
    name: str


class PostAnswer(ListItem):
    """A question, or a review with its rating; product and author are named as when it was written."""

    model_config = example(**_POST)

    post_id: str
    product_id: str
    product_name: str
    author: AuthorAnswer
    kind: Literal["question", "review"]
    title: str
    body: str
    rating: int | None
    version: int
    written_at: str
    edited_at: str | None


class PostPage(Answer):
    """Newest first; `next_cursor` is null at the end."""

    model_config = example(items=[_POST], next_cursor=None)

    items: list[PostAnswer]
    next_cursor: str | None


@router.get("/{post_id}", response_model=PostAnswer, summary="One post", **documented(404, if_none_match=True))
async def post(post_id: Id, reads: RequestReads, request: Request) -> Response:
    """What was written; one that was deleted is not found."""
    reading = await reads.of(VIEW)
    found = await reading.find(VIEW, post_id)
    if found is None or found["deleted"]:
        raise reading.not_found("post")
    etag = etag_of(found["version"])
    headers, parked = {**PUBLIC, "ETag": etag}, is_parked(found)
    if matches(etag, request.headers.getlist("if-none-match")):
        return reading.not_modified(headers, parked=parked)
    return reading.answer(_shown(renamed(found, "post_id")), headers, parked=parked)


@router.get("", response_model=PostPage, summary="Posts, newest first", **documented())
async def posts(
    reads: RequestReads,
    product_id: Annotated[Id | None, Query(description="Only about this product")] = None,
    member_id: Annotated[Id | None, Query(description="Only by this member")] = None,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> Response:
    """Pages of posts; pass `next_cursor` with the same filters to go on."""
    reading = await reads.of(VIEW)
    cursors = Cursors(reading.log.deployment_id, "posts", (product_id, member_id))
    last = after(cursor, cursors)
    found = await list_posts(reading.collection(VIEW), product_id, member_id, last, limit + 1)
    return reading.answer(
        page(
            [_shown(list_item(post, "post_id")) for post in found],
            limit,
            lambda item: cursors.mint(item["written_at"], item["post_id"]),
        ),
        PUBLIC,
    )


async def list_posts(
    collection: ReadCollection,
    product_id: str | None,
    member_id: str | None,
    last: tuple[str, ...] | None,
    limit: int,
) -> list[StoredDocument]:
    """Posts that were not deleted, newest first."""
    query: dict[str, Any] = {"deleted": False}
    if product_id is not None:
        query["product_id"] = product_id
    if member_id is not None:
        query["author.member_id"] = member_id
    if last is not None:
        query |= beyond("written_at", last)
    return await collection.find(query, sort=NEWEST_FIRST, limit=limit).to_list(None)


def _shown(item: dict[str, Any]) -> dict[str, Any]:
    del item["deleted"]
    return item
