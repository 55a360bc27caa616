"""Members confirm their e-mail addresses, with tokens of which only the hashes are kept."""

from alembic import op

revision = "0009"
down_revision = "0008"

_STATEMENTS = (
    # A default that is a constant rewrites no table, and the old code, which does not name the column, goes on.
    """
    ALTER TABLE members ADD COLUMN email_verified BOOLEAN NOT NULL DEFAULT false
    """,
    """
    CREATE TABLE email_verifications (
        token_hash TEXT NOT NULL,
        member_id TEXT NOT NULL,
        email TEXT NOT NULL,
        event_id TEXT NOT NULL,
        expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
        used_at TIMESTAMP WITH TIME ZONE,
        CONSTRAINT pk_email_verifications PRIMARY KEY (token_hash)
    )
    """,
    """
    CREATE INDEX ix_email_verifications_member_id ON email_verifications (member_id)
    """,
    """
    CREATE INDEX ix_email_verifications_expires_at ON email_verifications (expires_at)
    """,
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)
