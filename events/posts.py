"""Events of the posts context: what members write about products.

Names are those of the moment of writing, and an edit leaves them as they were: it changes what was said, not who said
it of what.
"""

from typing import Annotated, Literal

import msgspec

from events.envelope import DomainEvent, published
from events.values import Value

Kind = Literal["question", "review"]
Rating = Annotated[int, msgspec.Meta(ge=1, le=5)]


class Author(Value, frozen=True):
    """Who wrote, named as at that moment."""

    member_id: str
    name: str


@published("post")
class PostWritten(DomainEvent, frozen=True, kw_only=True):
    """A member asked something about a product, or reviewed it; only a review has a rating."""

    product_id: str
    product_name: str
    author: Author
    kind: Kind
    title: str
    body: str
    rating: Rating | None = None


@published("post")
class PostEdited(DomainEvent, frozen=True, kw_only=True):
    """Its author put it in other words: title, body and rating are these now."""

    title: str
    body: str
    rating: Rating | None = None


@published("post")
class PostDeleted(DomainEvent, frozen=True, kw_only=True):
    """The post is to be seen no more; ``deleted_by`` is its author, or one of the shop's staff."""

    deleted_by: str
