"""Points: accounts, the ledger of what changed them, and what became of each payment that wanted some."""

from alembic import op

revision = "0007"
down_revision = "0006"

_STATEMENTS = (
    """
    CREATE TABLE points_accounts (
        member_id TEXT NOT NULL,
        version BIGINT NOT NULL,
        balance BIGINT NOT NULL CONSTRAINT ck_points_accounts_not_negative CHECK (balance >= 0),
        CONSTRAINT pk_points_accounts PRIMARY KEY (member_id)
    )
    """,
    """
    CREATE TABLE points_ledger (
        member_id TEXT NOT NULL,
        version BIGINT NOT NULL,
        kind TEXT NOT NULL,
        points BIGINT NOT NULL,
        balance BIGINT NOT NULL,
        payment_id TEXT,
        order_id TEXT,
        reason TEXT,
        at TIMESTAMP WITH TIME ZONE NOT NULL,
        CONSTRAINT pk_points_ledger PRIMARY KEY (member_id, version),
        CONSTRAINT ck_points_ledger_signed
            CHECK (kind = 'used' AND points < 0 OR kind IN ('charged', 'returned') AND points > 0),
        CONSTRAINT ck_points_ledger_for_a_payment CHECK ((kind = 'charged') = (payment_id IS NULL)),
        CONSTRAINT uq_points_ledger_payment_id UNIQUE (payment_id, kind)
    )
    """,
    """
    CREATE TABLE points_sagas (
        payment_id TEXT NOT NULL,
        order_id TEXT NOT NULL,
        member_id TEXT,
        points BIGINT NOT NULL,
        state TEXT NOT NULL,
        CONSTRAINT pk_points_sagas PRIMARY KEY (payment_id)
    )
    """,
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)
