"""Table and statements of the posts context."""

from typing import Any

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Column, Integer, Table, Text, select

from command.database import metadata
from command.errors import NotFound
from command.posts.model import Post
from command.storage import AggregateRepository

posts = Table(
    "posts",
    metadata,
    Column("post_id", Text, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("product_id", Text, nullable=False),
    Column("member_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("rating", Integer, CheckConstraint("rating BETWEEN 1 AND 5", name="rating_from_1_to_5")),
    Column("deleted", Boolean, nullable=False),
)


class Posts(AggregateRepository[Post]):
    """The posts that are to be seen, and the places of those that were."""

    table = posts
    key = "post_id"

    async def get(self, post_id: str) -> Post:
        """Raises `NotFound`, also for one that was deleted: nothing more can happen to it."""
        query = select(posts).where(posts.c.post_id == post_id, ~posts.c.deleted)
        row = (await self.connection.execute(query)).mappings().first()
        if row is None:
            raise NotFound(what="post")
        return self.loaded(
            Post(
                id=row["post_id"],
                version=row["version"],
                product_id=row["product_id"],
                member_id=row["member_id"],
                kind=row["kind"],
                title=row["title"],
                body=row["body"],
                rating=row["rating"],
            )
        )

    def row(self, aggregate: Post) -> dict[str, Any]:
        """The post as a row."""
        return {
            "post_id": aggregate.id,
            "version": aggregate.version,
            "product_id": aggregate.product_id,
            "member_id": aggregate.member_id,
            "kind": aggregate.kind,
            "title": aggregate.title,
            "body": aggregate.body,
            "rating": aggregate.rating,
            "deleted": aggregate.deleted,
        }
