"""Coupons in the transactions of orders: used when an order is placed, given back when it is called off or not paid.

An order without a coupon says so itself, and costs no statement here.
"""

from command.coupons.storage import IssuedCoupons
from command.unit_of_work import Handlers, UnitOfWork
from events.ordering import OrderCanceled, OrderPlaced, PaymentDeclined, PaymentRequested
from eventstore import PendingEvent

CAUSES = {PaymentDeclined: "payment-declined", OrderCanceled: "order-canceled"}


async def use(pending: PendingEvent, uow: UnitOfWork) -> None:
    """Use the coupon that the order was placed with, or the transaction fails whole."""
    placed = pending.event
    assert isinstance(placed, OrderPlaced)
    if placed.coupon is None:
        return
    issued = uow.repository(IssuedCoupons)
    coupon = await issued.get(placed.coupon.coupon_id)
    coupon.use(pending.aggregate_id, placed.discount_amount, at=pending.occurred_at)
    issued.grant(pending.aggregate_id, coupon.id, placed.discount_amount)


async def use_again(pending: PendingEvent, uow: UnitOfWork) -> None:
    """Who pays after a declined payment pays the same price: so the order uses its coupon again, or is not paid."""
    requested = pending.event
    assert isinstance(requested, PaymentRequested)
    if requested.coupon is None:
        return
    coupon, discount_amount = await uow.repository(IssuedCoupons).granted_to(pending.aggregate_id)
    coupon.use(pending.aggregate_id, discount_amount, at=pending.occurred_at)


async def give_back(pending: PendingEvent, uow: UnitOfWork) -> None:
    """Give it back, if the order still uses it: one whose payment expires is declined and canceled at once."""
    ended = pending.event
    assert isinstance(ended, PaymentDeclined | OrderCanceled)
    if ended.coupon is None:
        return
    coupon = await uow.repository(IssuedCoupons).get(ended.coupon.coupon_id)
    coupon.give_back(pending.aggregate_id, CAUSES[type(ended)], at=pending.occurred_at)


def subscribe(handlers: Handlers) -> None:
    """Enter this context's before-commit handlers."""
    handlers.before_commit(OrderPlaced, use)
    handlers.before_commit(PaymentRequested, use_again)
    handlers.before_commit(PaymentDeclined, give_back)
    handlers.before_commit(OrderCanceled, give_back)
