"""The manifest of archived parts of the log, and its generation, which every change raises."""

from alembic import op

revision = "0004"
down_revision = "0003"

_STATEMENTS = (
    """
    CREATE TABLE event_archives (
        first_position BIGINT NOT NULL,
        last_position BIGINT NOT NULL,
        partition TEXT NOT NULL,
        file TEXT NOT NULL,
        bytes BIGINT NOT NULL,
        sha256 TEXT NOT NULL,
        events BIGINT NOT NULL,
        schema_version SMALLINT NOT NULL,
        first_recorded_at TIMESTAMP WITH TIME ZONE NOT NULL,
        last_recorded_at TIMESTAMP WITH TIME ZONE NOT NULL,
        archived_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT clock_timestamp(),
        CONSTRAINT pk_event_archives PRIMARY KEY (first_position),
        CONSTRAINT uq_event_archives_file UNIQUE (file),
        CONSTRAINT ck_event_archives_whole CHECK (events = last_position - first_position + 1)
    )
    """,
    """
    CREATE TABLE event_archive_state (
        one BOOLEAN NOT NULL DEFAULT true CHECK (one),
        generation BIGINT NOT NULL DEFAULT 0,
        CONSTRAINT pk_event_archive_state PRIMARY KEY (one)
    )
    """,
    "INSERT INTO event_archive_state DEFAULT VALUES",
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)
