"""Payments that are settled by others: orders that wait for one are found by their age."""

from alembic import op

revision = "0005"
down_revision = "0004"

_STATEMENTS = (
    # Whatever was paid until now was settled in the transaction that asked: no gateway knows it, or could refund it.
    "UPDATE orders SET payment_method = 'recorded' WHERE payment_id IS NOT NULL",
    "CREATE INDEX ix_orders_unpaid ON orders (placed_at) WHERE status = 'PAYMENT_WAITING'",
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)
