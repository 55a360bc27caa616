"""What the checkout saga makes of a payment and of a refund, for tests of other things that run without its daemon."""

from command.ordering.model import Order
from command.ordering.storage import Orders
from command.unit_of_work import UnitOfWork
from runtime.clock import now


async def settle(uow: UnitOfWork, order_id: str, *, declined: bool = False) -> Order:
    """Approve, or decline, the payment that the order waits for; complete the refund of a canceled one."""
    order = await uow.repository(Orders).get(order_id)
    if not order.is_paying:
        order.complete_refund(at=now())
    elif declined:
        order.decline_payment("The card was declined.", at=now())
    else:
        order.approve_payment(at=now())
    return order
