"""Posts over the command API and a real Postgres."""

from typing import Any

import httpx
import pytest

from tests.integration.commanding import PASSWORD, Shop, problem, shop

__all__ = ["shop"]

REVIEW: dict[str, Any] = {
    "product_id": "p-1",
    "kind": "review",
    "title": "Keeps warm",
    "body": "For an hour.\nWith a saucer on top.",
    "rating": 4,
}
QUESTION = {"product_id": "p-1", "kind": "question", "title": "Lid?", "body": "Is there a lid for it?"}


@pytest.fixture
async def post(shop: Shop) -> str:
    """The path of a review of Ann's."""
    await shop.product()
    answer = await shop.post("/posts", REVIEW)
    assert answer.status_code == 201, answer.text
    return f"/posts/{answer.json()['post_id']}"


async def edited(shop: Shop, post: str, body: Any, **headers: str) -> httpx.Response:
    """PATCH; by Ann unless told otherwise."""
    return await shop.client.patch(post, json=body, headers=shop.ann | headers)


async def events_of(shop: Shop, post: str) -> list[tuple[int, str]]:
    """Version and type of each."""
    return await shop.events_of(post.removeprefix("/posts/"))


async def test_a_post_is_written_edited_and_deleted(shop: Shop) -> None:
    await shop.product()

    written = await shop.post("/posts", REVIEW)
    post = written.headers["location"]
    changed = await edited(shop, post, {"rating": 5})
    deleted = await shop.client.delete(post, headers=shop.ann)

    post_id = post.removeprefix("/posts/")
    assert [answer.status_code for answer in (written, changed, deleted)] == [201, 200, 200]
    assert [answer.json() for answer in (written, changed, deleted)] == [
        {"post_id": post_id, "version": version} for version in (1, 2, 3)
    ]
    assert [answer.headers["etag"] for answer in (written, changed, deleted)] == ['"1"', '"2"', '"3"']
    assert all(answer.headers["consistency-token"] for answer in (written, changed, deleted))
    assert await events_of(shop, post) == [(1, "PostWritten"), (2, "PostEdited"), (3, "PostDeleted")]


async def test_product_and_author_are_named_as_when_it_was_written(shop: Shop) -> None:
    await shop.product()
    sign_up = {"email": "ann@example.com", "name": "Ann Archer", "password": PASSWORD}
    member = (await shop.client.post("/members", json=sign_up)).json()["member_id"]

    await shop.post("/posts", REVIEW, by=shop.as_(member, "customer"))
    await shop.client.patch("/products/p-1", json={"name": "Cup"}, headers=shop.staff)

    [row] = await shop.rows(
        "SELECT payload::jsonb -> 'product_name' #>> '{}' AS product, payload::jsonb -> 'author' ->> 'name' AS author"
        " FROM outbox WHERE event_type = 'PostWritten'"
    )
    assert (row["product"], row["author"]) == ("Mug", "Ann Archer")


async def test_a_product_that_does_not_exist_cannot_be_written_about(shop: Shop) -> None:
    answer = await shop.post("/posts", REVIEW)

    assert problem(answer) == (422, "unknown-product")
    assert "p-1" in answer.json()["detail"]
    assert await shop.rows("SELECT 1 FROM outbox") == []


@pytest.mark.parametrize("body", [REVIEW | {"rating": None}, QUESTION | {"rating": 3}])
async def test_a_rating_is_a_reviews_alone(shop: Shop, body: Any) -> None:
    await shop.product()

    assert problem(await shop.post("/posts", body)) == (422, "rating-mismatch")


async def test_a_question_gets_no_rating_later(shop: Shop) -> None:
    await shop.product()
    question = (await shop.post("/posts", QUESTION)).headers["location"]

    assert problem(await edited(shop, question, {"rating": 3})) == (422, "rating-mismatch")
    assert await events_of(shop, question) == [(1, "PostWritten")]


@pytest.mark.parametrize(
    "change",
    [
        {"product_id": ""},
        {"product_id": "a/b"},
        {"product_id": 7},
        {"kind": "rant"},
        {"kind": None},
        {"title": ""},
        {"title": "   "},
        {"title": "two\nlines"},
        {"title": "x" * 201},
        {"body": ""},
        {"body": "\n \t"},
        {"body": "a\x00b"},
        {"body": "x" * 5001},
        {"rating": 0},
        {"rating": 6},
        {"rating": 3.5},
        {"rating": "4"},
        {"rating": True},
        {"member_id": "ben"},
    ],
)
async def test_what_makes_no_sense_is_refused(shop: Shop, change: Any) -> None:
    await shop.product()

    answer = await shop.post("/posts", REVIEW | change)

    assert problem(answer) == (422, "invalid-input")
    assert answer.json()["errors"][0]["loc"][:2] == ["body", *change]
    assert await shop.rows("SELECT 1 FROM posts") == []


@pytest.mark.parametrize(
    "body", [None, {}, [], {"title": None}, {"title": ""}, {"rating": 9}, {"kind": "question"}, {"product_id": "p-2"}]
)
async def test_an_edit_that_makes_no_sense_is_refused(shop: Shop, post: str, body: Any) -> None:
    assert problem(await edited(shop, post, body)) == (422, "invalid-input")
    assert await events_of(shop, post) == [(1, "PostWritten")]


async def test_only_its_author_edits_a_post_not_even_staff(shop: Shop, post: str) -> None:
    for by in (shop.as_("ben", "customer"), shop.as_("sam", "customer", "staff")):
        answer = await shop.client.patch(post, json={"title": "x"}, headers=by)
        assert problem(answer) == (403, "not-the-author")
    assert problem(await shop.client.patch(post, json={"title": "x"}, headers=shop.staff)) == (403, "forbidden")
    assert await events_of(shop, post) == [(1, "PostWritten")]


async def test_a_post_is_deleted_by_its_author_or_by_staff_and_by_nobody_else(shop: Shop, post: str) -> None:
    ben = await shop.client.delete(post, headers=shop.as_("ben", "customer"))
    staff = await shop.client.delete(post, headers=shop.staff)

    assert (problem(ben), staff.status_code) == ((403, "not-the-author"), 200)
    [row] = await shop.rows("SELECT payload::jsonb ->> 'deleted_by' AS by FROM outbox WHERE event_type = 'PostDeleted'")
    assert row["by"] == "sam"


async def test_a_deleted_post_is_not_there_for_anybody(shop: Shop, post: str) -> None:
    await shop.client.delete(post, headers=shop.ann)

    answers = [
        await edited(shop, post, {"title": "x"}),
        await shop.client.delete(post, headers=shop.ann),
        await shop.client.delete(post, headers=shop.staff),
        await shop.client.delete(post, headers=shop.as_("ben", "customer")),
    ]

    assert [problem(answer) for answer in answers] == [(404, "not-found")] * 4


async def test_a_deleted_post_leaves_none_of_its_words_in_its_table(shop: Shop, post: str) -> None:
    await shop.client.delete(post, headers=shop.ann)

    [row] = await shop.rows("SELECT title, body, rating, deleted FROM posts")
    assert tuple(row) == ("", "", None, True)


async def test_a_stale_version_changes_nothing(shop: Shop, post: str) -> None:
    await edited(shop, post, {"title": "Warm"})

    stale = [
        await edited(shop, post, {"title": "Cold"}, **{"If-Match": '"1"'}),
        await shop.client.delete(post, headers=shop.ann | {"If-Match": '"1"'}),
    ]
    current = await edited(shop, post, {"title": "Hot"}, **{"If-Match": '"2"'})

    assert [problem(answer) for answer in stale] == [(412, "stale-version")] * 2
    assert (current.status_code, current.headers["etag"]) == (200, '"3"')


async def test_the_post_of_another_does_not_tell_its_version(shop: Shop, post: str) -> None:
    headers = shop.as_("ben", "customer") | {"If-Match": '"9"'}

    assert problem(await shop.client.patch(post, json={"title": "x"}, headers=headers)) == (403, "not-the-author")


async def test_a_post_that_is_sent_again_is_written_once(shop: Shop) -> None:
    await shop.product()
    headers = shop.ann | {"Idempotency-Key": "k"}

    first, again = [await shop.client.post("/posts", json=REVIEW, headers=headers) for _ in range(2)]

    assert (again.content, again.headers["idempotent-replayed"]) == (first.content, "true")
    assert len(await shop.rows("SELECT 1 FROM posts")) == 1


async def test_a_deletion_that_is_sent_again_gets_its_first_answer(shop: Shop, post: str) -> None:
    headers = shop.ann | {"Idempotency-Key": "k"}

    first, again = [await shop.client.delete(post, headers=headers) for _ in range(2)]

    assert (first.status_code, again.status_code, again.content) == (200, 200, first.content)


@pytest.mark.parametrize(("by", "status"), [("customer", 404), ("staff", 404), ("operator", 403)])
async def test_a_post_that_never_was_is_not_found_by_who_may_ask(shop: Shop, by: str, status: int) -> None:
    assert (await shop.client.delete("/posts/none", headers=shop.as_("x", by))).status_code == status


async def test_a_call_that_a_post_does_not_take_is_told_all_that_it_takes(shop: Shop) -> None:
    answer = await shop.client.put("/posts/none", json={}, headers=shop.ann)

    assert problem(answer) == (405, "method-not-allowed")
    assert answer.headers["allow"] == "DELETE, PATCH"
