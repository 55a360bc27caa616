"""Posts: what members write about products, as everybody may read it.

Shape:   one document per post, see `PostDocument`; times are RFC 3339 strings of fixed width, so that they sort.
Source:  every event of the post; ``version`` is the version of the last.

A deleted post stays as a mark that holds none of its words. A fold takes no document away, so that one that is missing
is always a mistake: verification and audit can tell, and what waits behind a dead letter has something to be marked.
"""

import msgspec

from events.envelope import Envelope
from events.posts import Author, PostDeleted, PostEdited, PostWritten
from views.kit import Document, Index, Projection
from views.times import rfc3339


class PostDocument(Document, frozen=True, kw_only=True):
    """A question or a review; ``deleted`` ones are never served."""

    product_id: str = ""
    product_name: str = ""
    author: Author = Author("", "")
    kind: str = ""
    title: str = ""
    body: str = ""
    rating: int | None = None
    version: int = 0
    written_at: str = ""
    edited_at: str | None = None
    deleted: bool = False


_newest_first = (("written_at", -1), ("_id", -1))

view = Projection(
    PostDocument,
    name="posts",
    version=1,
    indexes=(
        Index((("deleted", 1), *_newest_first)),
        Index((("deleted", 1), ("product_id", 1), *_newest_first)),
        Index((("deleted", 1), ("author.member_id", 1), *_newest_first)),
        Index((("deleted", 1), ("author.member_id", 1), ("product_id", 1), *_newest_first)),
    ),
)


@view.on(PostWritten)
def write(post: PostDocument, event: PostWritten, envelope: Envelope) -> PostDocument:
    """The post as it was written; product and author keep the names that they had."""
    return msgspec.structs.replace(
        post,
        product_id=event.product_id,
        product_name=event.product_name,
        author=event.author,
        kind=event.kind,
        title=event.title,
        body=event.body,
        rating=event.rating,
        version=envelope.aggregate_version,
        written_at=rfc3339(envelope.occurred_at),
    )


@view.on(PostEdited)
def edit(post: PostDocument, event: PostEdited, envelope: Envelope) -> PostDocument:
    """Other words, in the same place of the list."""
    return msgspec.structs.replace(
        post,
        title=event.title,
        body=event.body,
        rating=event.rating,
        version=envelope.aggregate_version,
        edited_at=rfc3339(envelope.occurred_at),
    )


@view.on(PostDeleted)
def delete(post: PostDocument, event: PostDeleted, envelope: Envelope) -> PostDocument:
    """Nothing is left but the mark."""
    return PostDocument(id=post.id, version=envelope.aggregate_version, deleted=True)
