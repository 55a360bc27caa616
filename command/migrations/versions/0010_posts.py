"""Posts: what members write about products."""

from alembic import op

revision = "0010"
down_revision = "0009"

_STATEMENTS = (
    """
    CREATE TABLE posts (
        post_id TEXT NOT NULL,
        version BIGINT NOT NULL,
        product_id TEXT NOT NULL,
        member_id TEXT NOT NULL,
        kind TEXT NOT NULL,
        title TEXT NOT NULL,
        body TEXT NOT NULL,
        rating INTEGER CONSTRAINT ck_posts_rating_from_1_to_5 CHECK (rating BETWEEN 1 AND 5),
        deleted BOOLEAN NOT NULL,
        CONSTRAINT pk_posts PRIMARY KEY (post_id)
    )
    """,
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)
