"""Posts as the query API serves them."""

from typing import Any

import pytest
from pydantic import TypeAdapter

from query.posts import PostAnswer, PostPage
from tests.integration.query.posts import a_post
from tests.integration.query.shop import INSTANCES, Api, Shop, ids
from views.posts import PostDocument

REVIEW = {
    "post_id": "post-1",
    "product_id": "p-1",
    "product_name": "Pen",
    "author": {"member_id": "ann", "name": "Ann"},
    "kind": "review",
    "title": "Writes",
    "body": "And writes.",
    "rating": 5,
    "version": 1,
    "written_at": "2026-03-02T09:00:00.000000Z",
    "edited_at": None,
}


def at(minute: int) -> str:
    """A time on the second of March."""
    return f"2026-03-02T09:{minute:02d}:00.000000Z"


async def test_a_post_is_shown_to_everybody(api: Api, shop: Shop) -> None:
    await shop.put("posts", a_post())

    answer = await api.get("/posts/post-1", None)

    assert answer.json() == REVIEW
    TypeAdapter(PostAnswer).validate_json(answer.content, strict=True)
    assert (answer.headers["etag"], answer.headers["cache-control"]) == ('"1"', "no-cache")
    assert "vary" not in answer.headers


async def test_a_list_holds_whole_posts(api: Api, shop: Shop) -> None:
    await shop.put("posts", a_post(), a_post("post-2", kind="question", rating=None, edited_at=at(5)))

    answer = await api.get("/posts", None)

    second = REVIEW | {"post_id": "post-2", "kind": "question", "rating": None, "edited_at": at(5)}
    assert answer.json() == {"items": [second, REVIEW], "next_cursor": None}
    TypeAdapter(PostPage).validate_json(answer.content, strict=True)


async def test_what_the_caller_has_already_is_not_sent_again(api: Api, shop: Shop) -> None:
    await shop.put("posts", a_post(version=4))

    answers = [await api.get("/posts/post-1", None, headers={"If-None-Match": tag}) for tag in ('"4"', '"3"')]

    assert [(answer.status_code, bool(answer.content)) for answer in answers] == [(304, False), (200, True)]


async def test_a_deleted_post_is_not_found_and_in_no_list(api: Api, shop: Shop) -> None:
    await shop.put("posts", PostDocument(id="gone", version=3, deleted=True), a_post())

    assert (await api.get("/posts/gone", None, headers={"If-None-Match": '"3"'})).status_code == 404
    for query in ({}, {"product_id": "p-1"}, {"member_id": "ann"}, {"product_id": "p-1", "member_id": "ann"}):
        assert ids(await api.get("/posts", None, **query), "post_id") == ["post-1"]


async def test_a_deleted_post_looks_exactly_like_none(api: Api, shop: Shop) -> None:
    await shop.put("posts", PostDocument(id="gone", version=3, deleted=True))

    gone, none = await api.get("/posts/gone", None), await api.get("/posts/none", None)

    assert (gone.status_code, gone.content) == (none.status_code, none.content)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, ["d", "c", "b", "a"]),
        ({"product_id": "p-1"}, ["c", "a"]),
        ({"member_id": "ann"}, ["b", "a"]),
        ({"product_id": "p-1", "member_id": "ann"}, ["a"]),
        ({"product_id": "p-3"}, []),
    ],
)
async def test_posts_by_product_and_by_member(api: Api, shop: Shop, query: dict[str, str], found: list[str]) -> None:
    for minute, (post_id, product_id, member_id) in enumerate(
        [("a", "p-1", "ann"), ("b", "p-2", "ann"), ("c", "p-1", "ben"), ("d", "p-2", "ben")]
    ):
        await shop.put("posts", a_post(post_id, member_id, product_id=product_id, written_at=at(minute)))

    assert ids(await api.get("/posts", None, **query), "post_id") == found


async def test_pages_are_newest_first_and_hold_every_post_once_while_posts_arrive(api: Api, shop: Shop) -> None:
    # Ten posts in each of three moments: pages end within a moment too.
    posts = [a_post(f"post-{index:02d}", written_at=at(index % 3)) for index in range(30)]
    await shop.put("posts", *posts)
    expected = [post.id for post in sorted(posts, key=lambda post: (post.written_at, post.id), reverse=True)]
    seen: list[str] = []
    query: dict[str, Any] = {"limit": 4, "product_id": "p-1"}
    while True:
        page = await api.get("/posts", None, **query)
        seen += ids(page, "post_id")
        if (cursor := page.json()["next_cursor"]) is None:
            break
        query["cursor"] = cursor
        await shop.put("posts", a_post(f"x-{len(seen):02d}", written_at=at(50)))
    assert seen == expected


async def test_a_page_goes_on_after_a_post_that_was_deleted_meanwhile(api: Api, shop: Shop) -> None:
    await shop.put("posts", *(a_post(f"post-{number}", written_at=at(number)) for number in range(4)))
    first = await api.get("/posts", None, limit=2)
    await shop.database[INSTANCES["posts"]].update_one({"_id": "post-2"}, {"$set": {"deleted": True}})

    second = await api.get("/posts", None, limit=2, cursor=first.json()["next_cursor"])

    assert ids(first, "post_id") + ids(second, "post_id") == ["post-3", "post-2", "post-1", "post-0"]


async def test_a_cursor_is_of_use_with_its_own_filters_alone(api: Api, shop: Shop) -> None:
    await shop.put("posts", a_post("post-1"), a_post("post-2"))
    cursor = (await api.get("/posts", None, limit=1, product_id="p-1")).json()["next_cursor"]

    assert (await api.get("/posts", None, limit=1, product_id="p-1", cursor=cursor)).status_code == 200
    for other in ({}, {"member_id": "p-1"}, {"product_id": "p-1", "member_id": "ann"}):
        assert (await api.get("/posts", None, limit=1, cursor=cursor, **other)).status_code == 422


async def test_a_parked_post_says_so(api: Api, shop: Shop) -> None:
    await shop.put("posts", a_post(), _parked=True)

    detail, page = await api.get("/posts/post-1", None), await api.get("/posts", None)

    assert (detail.headers["read-model-state"], detail.json()) == ("parked", REVIEW)
    assert page.json()["items"] == [REVIEW | {"read_model_state": "parked"}]
