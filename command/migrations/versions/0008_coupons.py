"""Coupons: what staff defined, how many are left, what members hold, and which order was granted which."""

from alembic import op

revision = "0008"
down_revision = "0007"

_STATEMENTS = (
    """
    CREATE TABLE coupons (
        coupon_code TEXT NOT NULL,
        version BIGINT NOT NULL,
        name TEXT NOT NULL,
        kind TEXT NOT NULL,
        value BIGINT NOT NULL,
        currency TEXT NOT NULL,
        minimum_amount BIGINT NOT NULL,
        valid_from TIMESTAMP WITH TIME ZONE NOT NULL,
        valid_until TIMESTAMP WITH TIME ZONE NOT NULL,
        total_limit BIGINT,
        per_member_limit BIGINT,
        is_claimable BOOLEAN NOT NULL,
        CONSTRAINT pk_coupons PRIMARY KEY (coupon_code)
    )
    """,
    """
    CREATE TABLE coupons_left (
        coupon_code TEXT NOT NULL,
        remaining BIGINT NOT NULL CONSTRAINT ck_coupons_left_not_negative CHECK (remaining >= 0),
        CONSTRAINT pk_coupons_left PRIMARY KEY (coupon_code)
    )
    """,
    """
    CREATE TABLE coupons_taken (
        coupon_code TEXT NOT NULL,
        member_id TEXT NOT NULL,
        taken BIGINT NOT NULL,
        CONSTRAINT pk_coupons_taken PRIMARY KEY (coupon_code, member_id)
    )
    """,
    """
    CREATE TABLE issued_coupons (
        coupon_id TEXT NOT NULL,
        version BIGINT NOT NULL,
        coupon_code TEXT NOT NULL,
        member_id TEXT NOT NULL,
        name TEXT NOT NULL,
        kind TEXT NOT NULL,
        value BIGINT NOT NULL,
        currency TEXT NOT NULL,
        minimum_amount BIGINT NOT NULL,
        valid_from TIMESTAMP WITH TIME ZONE NOT NULL,
        valid_until TIMESTAMP WITH TIME ZONE NOT NULL,
        order_id TEXT,
        CONSTRAINT pk_issued_coupons PRIMARY KEY (coupon_id)
    )
    """,
    "CREATE INDEX ix_issued_coupons_member_id_coupon_code ON issued_coupons (member_id, coupon_code)",
    """
    CREATE TABLE coupon_uses (
        order_id TEXT NOT NULL,
        coupon_id TEXT NOT NULL,
        discount_amount BIGINT NOT NULL,
        CONSTRAINT pk_coupon_uses PRIMARY KEY (order_id)
    )
    """,
    "ALTER TABLE orders ADD COLUMN coupon_id TEXT, ADD COLUMN coupon_code TEXT",
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)
