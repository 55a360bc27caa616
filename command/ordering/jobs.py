"""What is due by the clock: orders that nobody paid for in time are called off, and their stock is free again."""

from datetime import timedelta

from command.ordering.model import OrderStatus
from command.ordering.storage import Orders
from command.steps import Steps
from command.unit_of_work import UnitOfWork
from events.reaction import Job, Ports
from runtime.clock import now
from runtime.settings import Settings

AT_ONCE = 100


async def expire_unpaid_orders(ports: Ports) -> None:
    """Each in a transaction of its own; what was paid or canceled meanwhile is left alone."""
    deadline_seconds = ports.of(Settings).payment_deadline_seconds
    if deadline_seconds == 0:
        return
    placed_before = now() - timedelta(seconds=deadline_seconds)
    steps = ports.of(Steps)

    async def due(uow: UnitOfWork) -> list[str]:
        return await uow.repository(Orders).unpaid(placed_before, AT_ONCE)

    for order_id in await steps.take(None, due):

        async def expire(uow: UnitOfWork, order_id: str = order_id) -> None:
            order = await uow.repository(Orders).get(order_id)
            if order.status is OrderStatus.PAYMENT_WAITING:
                order.expire(at=now())

        await steps.take(None, expire)


jobs = (Job("expire unpaid orders", every_seconds=5.0, run=expire_unpaid_orders),)
