"""The first answers that were given under an ``Idempotency-Key``."""

from alembic import op

revision = "0003"
down_revision = "0002"

_STATEMENTS = (
    """
    CREATE TABLE idempotency_keys (
        caller TEXT NOT NULL,
        key TEXT NOT NULL,
        fingerprint BYTEA NOT NULL,
        status SMALLINT NOT NULL,
        headers TEXT NOT NULL,
        body BYTEA NOT NULL,
        created_at TIMESTAMP WITH TIME ZONE NOT NULL,
        CONSTRAINT pk_idempotency_keys PRIMARY KEY (caller, key)
    )
    """,
    """
    CREATE INDEX ix_idempotency_keys_created_at ON idempotency_keys (created_at)
    """,
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)
