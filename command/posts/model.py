"""The post: a question or a review, which is its author's to change, and everybody's to read."""

from dataclasses import dataclass
from datetime import datetime

from command.aggregate import Aggregate
from command.errors import InvalidCommand, NotAllowed
from events.posts import Author, Kind, PostDeleted, PostEdited, PostWritten


class NotTheAuthor(NotAllowed):
    """The post is another member's: only who wrote it may do this."""


class RatingMismatch(InvalidCommand):
    """A review has a rating from 1 to 5; a question has none."""


@dataclass(kw_only=True, eq=False)
class Post(Aggregate):
    """One post. A deleted one keeps its place, and none of its words."""

    product_id: str
    member_id: str
    kind: Kind
    title: str
    body: str
    rating: int | None
    deleted: bool = False

    @classmethod
    def write(
        cls,
        post_id: str,
        *,
        product_id: str,
        product_name: str,
        author: Author,
        kind: Kind,
        title: str,
        body: str,
        rating: int | None,
        at: datetime,
    ) -> "Post":
        """A member writes about a product. Raises `RatingMismatch`."""
        if (kind == "review") != (rating is not None):
            raise RatingMismatch
        post = cls(
            id=post_id,
            product_id=product_id,
            member_id=author.member_id,
            kind=kind,
            title=title,
            body=body,
            rating=rating,
        )
        post.record(
            PostWritten(
                product_id=product_id,
                product_name=product_name,
                author=author,
                kind=kind,
                title=title,
                body=body,
                rating=rating,
            ),
            at,
        )
        return post

    def edit(
        self, *, title: str | None = None, body: str | None = None, rating: int | None = None, at: datetime
    ) -> None:
        """Change what is given. Raises `RatingMismatch`."""
        if rating is not None and self.kind == "question":
            raise RatingMismatch
        self.title = self.title if title is None else title
        self.body = self.body if body is None else body
        self.rating = self.rating if rating is None else rating
        self.record(PostEdited(title=self.title, body=self.body, rating=self.rating), at)

    def delete(self, *, by: str, at: datetime) -> None:
        """Take it out of sight."""
        self.title = self.body = ""
        self.rating, self.deleted = None, True
        self.record(PostDeleted(deleted_by=by), at)
