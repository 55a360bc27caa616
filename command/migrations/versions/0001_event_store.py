"""The event store: outbox, log in partitions by position, its head, the deployment's id."""

from alembic import op

revision = "0001"
down_revision = None

_ENVELOPE = """
    event_id          uuid        NOT NULL,
    event_type        text        NOT NULL,
    schema_version    smallint    NOT NULL,
    aggregate_type    text        NOT NULL,
    aggregate_id      text        NOT NULL,
    aggregate_version bigint      NOT NULL,
    occurred_at       timestamptz NOT NULL,
    recorded_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    correlation_id    text,
    causation_id      text,
    traceparent       text,
"""


def upgrade() -> None:
    op.execute("CREATE TABLE deployment (id uuid PRIMARY KEY DEFAULT gen_random_uuid())")
    op.execute("INSERT INTO deployment DEFAULT VALUES")
    # transaction_id stands before id on purpose: defaults are evaluated in this order, so whoever has drawn an id
    # has a transaction id already. The sequencer's floor relies on it.
    op.execute("CREATE SEQUENCE outbox_id_seq")
    op.execute(
        f"""
        CREATE TABLE outbox (
            transaction_id xid8   NOT NULL DEFAULT pg_current_xact_id(),
            id             bigint NOT NULL DEFAULT nextval('outbox_id_seq') PRIMARY KEY,
            {_ENVELOPE}
            payload        text   NOT NULL
        )
        """
    )
    # A queue: rows come and go all day, and the planner's statistics of it are always of another moment.
    op.execute(
        "ALTER TABLE outbox SET (autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_scale_factor = 0,"
        " autovacuum_vacuum_insert_threshold = -1, autovacuum_analyze_threshold = 2000000000)"
    )
    # payload is text: read back, jsonb costs twice as much, and nobody asks the log about fields of a payload.
    op.execute(
        f"""
        CREATE TABLE event_log (
            position bigint NOT NULL PRIMARY KEY,
            {_ENVELOPE}
            snapshot text,
            payload  text   NOT NULL
        ) PARTITION BY RANGE (position)
        """
    )
    op.execute("CREATE INDEX event_log_aggregate ON event_log (aggregate_id, position)")
    op.execute("CREATE INDEX event_log_type ON event_log (event_type, position)")
    op.execute("CREATE TABLE event_log_000000 PARTITION OF event_log FOR VALUES FROM (0) TO (1000000)")
    op.execute(
        "CREATE TABLE event_log_head (one boolean PRIMARY KEY DEFAULT true CHECK (one),"
        " position bigint NOT NULL DEFAULT 0, moved_at timestamptz)"
    )
    op.execute("INSERT INTO event_log_head DEFAULT VALUES")
