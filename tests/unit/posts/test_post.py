"""The post, by the events that it records."""

from typing import Any

import pytest

from command.posts.model import Post, RatingMismatch
from events.posts import Author, PostDeleted, PostEdited, PostWritten
from tests.builders import LATER, PLACED_AT

WORDS: dict[str, Any] = {"title": "Keeps warm", "body": "For an hour."}


def a_post(**fields: Any) -> Post:
    """A review of Ann's, with four stars unless told otherwise."""
    given = {"kind": "review", "rating": 4, **WORDS, **fields}
    return Post.write(
        "post-1", product_id="p-1", product_name="Mug", author=Author("m-1", "Ann"), at=PLACED_AT, **given
    )


def test_a_post_tells_what_was_written_of_what_and_by_whom() -> None:
    [written] = a_post().recorded

    assert (written.aggregate_version, written.occurred_at) == (1, PLACED_AT)
    assert written.event == PostWritten(
        product_id="p-1", product_name="Mug", author=Author("m-1", "Ann"), kind="review", rating=4, **WORDS
    )


@pytest.mark.parametrize(("kind", "rating"), [("review", None), ("question", 4)])
def test_a_review_has_a_rating_and_a_question_has_none(kind: str, rating: int | None) -> None:
    with pytest.raises(RatingMismatch):
        a_post(kind=kind, rating=rating)


def test_an_edit_tells_all_of_the_words_and_changes_those_that_were_given() -> None:
    post = a_post()

    post.edit(body="For two hours.", at=LATER)

    assert post.recorded[-1].event == PostEdited(title="Keeps warm", body="For two hours.", rating=4)


def test_a_question_gets_no_rating_by_an_edit() -> None:
    question = a_post(kind="question", rating=None)

    with pytest.raises(RatingMismatch):
        question.edit(rating=5, at=LATER)

    assert question.version == 1


def test_a_deleted_post_keeps_none_of_its_words() -> None:
    post = a_post()

    post.delete(by="sam", at=LATER)

    assert post.recorded[-1].event == PostDeleted(deleted_by="sam")
    assert (post.title, post.body, post.rating, post.deleted) == ("", "", None, True)
