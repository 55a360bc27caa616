"""The first contexts: members, catalog, ordering. No foreign key crosses a context."""

from alembic import op

revision = "0002"
down_revision = "0001"

_STATEMENTS = (
    """
    CREATE TABLE members (
        member_id TEXT NOT NULL,
        version BIGINT NOT NULL,
        email TEXT NOT NULL,
        name TEXT NOT NULL,
        password_hash TEXT,
        CONSTRAINT pk_members PRIMARY KEY (member_id),
        CONSTRAINT uq_members_email UNIQUE (email)
    )
    """,
    """
    CREATE TABLE order_lines (
        order_id TEXT NOT NULL,
        line_number INTEGER NOT NULL,
        product_id TEXT NOT NULL,
        name TEXT NOT NULL,
        category TEXT NOT NULL,
        unit_price BIGINT NOT NULL,
        quantity BIGINT NOT NULL,
        amount BIGINT NOT NULL,
        discount BIGINT NOT NULL,
        CONSTRAINT pk_order_lines PRIMARY KEY (order_id, line_number)
    )
    """,
    """
    CREATE TABLE orders (
        order_id TEXT NOT NULL,
        version BIGINT NOT NULL,
        status TEXT NOT NULL,
        member_id TEXT NOT NULL,
        orderer_name TEXT NOT NULL,
        currency TEXT NOT NULL,
        total_amount BIGINT NOT NULL,
        discount_amount BIGINT NOT NULL,
        receiver_name TEXT NOT NULL,
        receiver_phone TEXT NOT NULL,
        zip_code TEXT NOT NULL,
        address1 TEXT NOT NULL,
        address2 TEXT NOT NULL,
        message TEXT NOT NULL,
        payment_id TEXT,
        payment_method TEXT,
        payment_amount BIGINT,
        payment_points BIGINT,
        payment_status TEXT,
        carrier TEXT,
        tracking_number TEXT,
        cancel_reason TEXT,
        placed_at TIMESTAMP WITH TIME ZONE NOT NULL,
        CONSTRAINT pk_orders PRIMARY KEY (order_id)
    )
    """,
    """
    CREATE INDEX ix_orders_member_id_placed_at ON orders (member_id, placed_at)
    """,
    """
    CREATE TABLE product_stock (
        product_id TEXT NOT NULL,
        available BIGINT NOT NULL CONSTRAINT ck_product_stock_not_negative CHECK (available >= 0),
        CONSTRAINT pk_product_stock PRIMARY KEY (product_id)
    )
    """,
    """
    CREATE TABLE products (
        product_id TEXT NOT NULL,
        version BIGINT NOT NULL,
        name TEXT NOT NULL,
        category TEXT NOT NULL,
        unit_price BIGINT NOT NULL,
        currency TEXT NOT NULL,
        CONSTRAINT pk_products PRIMARY KEY (product_id)
    )
    """,
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)
