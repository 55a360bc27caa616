"""Use cases of the ordering context.

What ordering needs of other contexts stands in `Neighbours`, as functions; `command.bootstrap` fills them in.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from command.errors import InvalidCommand, NotFound
from command.ordering.model import Order
from command.ordering.storage import Orders
from command.unit_of_work import UnitOfWork
from events.ordering import AppliedCoupon, Line, Orderer, ShippingInfo
from runtime.clock import now
from runtime.ids import new_id
from runtime.tokens import Caller


class UnknownProduct(InvalidCommand):
    """No such product: {products}."""


class ProductNow(Protocol):
    """What ordering wants to know of a product."""

    name: str
    category: str
    unit_price: int


class CouponQuote(Protocol):
    """Which coupon of this code the member would use, and what it takes off; refuses where there is none to use."""

    async def __call__(
        self, uow: UnitOfWork, coupon_code: str, *, member_id: str, total_amount: int, currency: str
    ) -> tuple[AppliedCoupon, int]: ...


@dataclass(frozen=True, slots=True)
class Neighbours:
    """What other contexts answer: products as they are now, the name of a member (``None``: not one of ours), and what
    a coupon takes off."""

    products_now: Callable[[UnitOfWork, Sequence[str]], Awaitable[dict[str, ProductNow]]]
    member_name: Callable[[UnitOfWork, str], Awaitable[str | None]]
    coupon_quote: CouponQuote


async def place_order(
    uow: UnitOfWork,
    neighbours: Neighbours,
    *,
    caller: Caller,
    currency: str,
    lines: Sequence[tuple[str, int]],
    shipping_info: ShippingInfo,
    coupon_code: str | None = None,
) -> Order:
    """Place an order of ``(product id, quantity)`` lines at today's prices. Raises `UnknownProduct`, and whatever the
    coupons context has against the coupon."""
    products = await neighbours.products_now(uow, sorted({product_id for product_id, _ in lines}))
    unknown = {product_id for product_id, _ in lines} - products.keys()
    if unknown:
        raise UnknownProduct(products=", ".join(sorted(unknown)))
    name = await neighbours.member_name(uow, caller.subject)
    listed = [_line(product_id, products[product_id], quantity) for product_id, quantity in lines]
    coupon, discount_amount = None, 0
    if coupon_code is not None:
        total_amount = sum(line.amount for line in listed)
        coupon, discount_amount = await neighbours.coupon_quote(
            uow, coupon_code, member_id=caller.subject, total_amount=total_amount, currency=currency
        )
    order = Order.place(
        new_id(),
        orderer=Orderer(caller.subject, name or caller.name or caller.subject),
        currency=currency,
        lines=listed,
        shipping_info=shipping_info,
        discount_amount=discount_amount,
        coupon=coupon,
        at=now(),
    )
    uow.repository(Orders).add(order)
    return order


async def pay_order(
    uow: UnitOfWork, order_id: str, *, caller: Caller, method: str, card_token: str | None, points: int | None
) -> Order:
    """Ask for the payment. The answer comes later, from other contexts: see `command.ordering.reactions`."""
    order = await own_order(uow, order_id, caller=caller)
    if points is None:
        points = order.amount_due if method == "points" else 0
    order.request_payment(new_id(), method=method, points=points, card_token=card_token, at=now())
    return order


async def change_shipping_info(uow: UnitOfWork, order_id: str, *, caller: Caller, shipping_info: ShippingInfo) -> Order:
    """Send the parcel elsewhere."""
    order = await own_order(uow, order_id, caller=caller)
    order.change_shipping_info(shipping_info, at=now())
    return order


async def ship_order(uow: UnitOfWork, order_id: str, *, carrier: str, tracking_number: str) -> Order:
    """Hand the parcel to the carrier."""
    order = uow.as_expected(await uow.repository(Orders).get(order_id))
    order.ship(carrier=carrier, tracking_number=tracking_number, at=now())
    return order


async def start_delivery(uow: UnitOfWork, order_id: str) -> Order:
    """The parcel is out for delivery."""
    order = uow.as_expected(await uow.repository(Orders).get(order_id))
    order.start_delivery(at=now())
    return order


async def complete_delivery(uow: UnitOfWork, order_id: str) -> Order:
    """The parcel arrived."""
    order = uow.as_expected(await uow.repository(Orders).get(order_id))
    order.complete_delivery(at=now())
    return order


async def cancel_order(uow: UnitOfWork, order_id: str, *, caller: Caller, reason: str) -> Order:
    """Call the order off; what was paid is refunded afterwards."""
    order = await own_order(uow, order_id, caller=caller)
    order.cancel(reason, canceled_by=caller.subject, at=now())
    return order


async def own_order(uow: UnitOfWork, order_id: str, *, caller: Caller) -> Order:
    """The order, if the caller owns it or is staff; another's cannot be told from none.

    Raises `NotFound`, `StaleVersion`.
    """
    order = await uow.repository(Orders).get(order_id)
    if order.orderer.member_id != caller.subject and not caller.has("staff"):
        raise NotFound(what="order")
    return uow.as_expected(order)


def _line(product_id: str, product: ProductNow, quantity: int) -> Line:
    return Line(
        product_id=product_id,
        name=product.name,
        category=product.category,
        unit_price=product.unit_price,
        quantity=quantity,
        amount=product.unit_price * quantity,
    )
