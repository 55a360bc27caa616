"""Where each reaction begins in the log. `command.migrations.migrate` notes those that the code declares."""

from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.execute(
        "CREATE TABLE reaction_beginnings (reaction text PRIMARY KEY, position bigint NOT NULL,"
        " noted_at timestamptz NOT NULL DEFAULT clock_timestamp())"
    )
