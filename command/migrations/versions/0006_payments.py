"""Payments: the record of each saga, and the payments that something has happened to."""

from alembic import op

revision = "0006"
down_revision = "0005"

_STATEMENTS = (
    """
    CREATE TABLE payment_sagas (
        payment_id TEXT NOT NULL,
        order_id TEXT NOT NULL,
        member_id TEXT,
        amount BIGINT,
        currency TEXT,
        points BIGINT,
        card_token TEXT,
        unanswered BIGINT NOT NULL DEFAULT 0,
        rolled_back_at TIMESTAMP WITH TIME ZONE,
        CONSTRAINT pk_payment_sagas PRIMARY KEY (payment_id),
        CONSTRAINT ck_payment_sagas_asked_whole CHECK (num_nulls(member_id, amount, currency, points) IN (0, 4)),
        CONSTRAINT ck_payment_sagas_known CHECK (amount IS NOT NULL OR rolled_back_at IS NOT NULL),
        CONSTRAINT ck_payment_sagas_unanswered CHECK (unanswered >= 0)
    )
    """,
    """
    CREATE TABLE payments (
        payment_id TEXT NOT NULL,
        version BIGINT NOT NULL,
        order_id TEXT NOT NULL,
        member_id TEXT NOT NULL,
        amount BIGINT NOT NULL,
        currency TEXT NOT NULL,
        points BIGINT NOT NULL,
        status TEXT NOT NULL,
        charge_id TEXT,
        is_uncertain BOOLEAN NOT NULL,
        CONSTRAINT pk_payments PRIMARY KEY (payment_id)
    )
    """,
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)
