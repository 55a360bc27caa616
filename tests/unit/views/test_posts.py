"""Posts: what members write about products."""

from datetime import timedelta

from events.posts import Author, PostDeleted, PostEdited, PostWritten
from tests.unit.views.given import MOMENT, STAMP, given, happened
from views.posts import view

WRITTEN = PostWritten(
    product_id="mug",
    product_name="Mug",
    author=Author("m-1", "Ann"),
    kind="review",
    title="Keeps warm",
    body="For an hour.",
    rating=4,
)
REVIEW = {
    "product_id": "mug",
    "product_name": "Mug",
    "author": Author("m-1", "Ann"),
    "kind": "review",
    "title": "Keeps warm",
    "body": "For an hour.",
    "rating": 4,
    "version": 1,
    "written_at": STAMP,
}


def test_a_post_is_shown_as_it_was_written() -> None:
    given(view, happened(WRITTEN, "post-1")).then("post-1", **REVIEW)


def test_an_edited_post_has_other_words_and_its_old_place() -> None:
    edited = happened(PostEdited(title="Cools", body="In an hour.", rating=2), "post-1", at=MOMENT + timedelta(hours=1))

    given(view, happened(WRITTEN, "post-1"), edited).then(
        "post-1",
        **REVIEW
        | {
            "title": "Cools",
            "body": "In an hour.",
            "rating": 2,
            "version": 2,
            "edited_at": "2026-03-02T10:00:00.000000Z",
        },
    )


def test_of_a_deleted_post_nothing_is_left_but_a_mark() -> None:
    given(view, happened(WRITTEN, "post-1"), happened(PostDeleted(deleted_by="sam"), "post-1")).then(
        "post-1", version=2, deleted=True
    )
