"""What the orders add up to, by SQL over their tables alone: what statistics made of events must agree with.

Units:   amounts in minor units after discount; ``units`` in pieces; ``canceled_*`` only of orders that had been paid.
"""

from sqlalchemy import and_, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from command.ordering.model import OrderStatus, PaymentStatus
from command.ordering.storage import order_lines, orders

_REFUNDED = (PaymentStatus.REFUND_REQUESTED, PaymentStatus.REFUNDED, PaymentStatus.REFUND_FAILED)
_amount = orders.c.total_amount - orders.c.discount_amount
_paid = orders.c.payment_status.in_([status.value for status in (PaymentStatus.APPROVED, *_REFUNDED)])
_canceled = and_(
    orders.c.status == OrderStatus.CANCELED.value,
    orders.c.payment_status.in_([status.value for status in _REFUNDED]),
)

_OF_ORDERS = select(
    func.count().label("placed_orders"),
    func.sum(_amount).label("placed_amount"),
    func.count().filter(_paid).label("paid_orders"),
    func.sum(_amount).filter(_paid).label("gross_sales"),
    func.count().filter(_canceled).label("canceled_orders"),
    func.sum(_amount).filter(_canceled).label("canceled_amount"),
)
_UNITS = select(func.sum(order_lines.c.quantity)).join(orders, orders.c.order_id == order_lines.c.order_id).where(_paid)


async def sales_totals(connection: AsyncConnection) -> dict[str, int]:
    """By measure, as the connection's transaction sees the orders."""
    totals = (await connection.execute(_OF_ORDERS)).mappings().one()
    units = (await connection.execute(_UNITS)).scalar_one()
    # Sums of bigint are numeric, and null where there is nothing to add up.
    return {measure: int(total or 0) for measure, total in {**totals, "units": units}.items()}
