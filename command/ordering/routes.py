"""HTTP of the ordering context."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, Field, StringConstraints
from starlette.responses import Response

from command.documented import command
from command.edge import Body, Customer, CustomerOrStaff, Id, Line, Name, Prose, Staff, UseCases, neighbours
from command.ordering import service
from command.ordering.model import Order, OrderStatus
from command.ordering.service import Neighbours
from events import ordering as language
from runtime.openapi import example

router = APIRouter(prefix="/orders", tags=["ordering"])

MOST_LINES = 500


_SHIPPING_INFO = {
    "receiver": {"name": "Ann", "phone": "555-0100"},
    "address": {"zip_code": "12345", "address1": "1 Example Street", "address2": ""},
    "message": "ring twice",
}


class OrderLineBody(Body):
    """So many pieces of a product."""

    model_config = example(product_id="mug-blue", quantity=2)

    product_id: Id
    quantity: Annotated[int, Field(ge=1, le=1_000_000)]


class ReceiverBody(Body):
    """Who takes the parcel."""

    name: Name
    phone: Line


class AddressBody(Body):
    """Where the parcel goes."""

    zip_code: Line
    address1: Line
    address2: Line = ""


class ShippingInfoBody(Body):
    """Where, to whom, and a word to the carrier."""

    model_config = example(**_SHIPPING_INFO)

    receiver: ReceiverBody
    address: AddressBody
    message: Prose = ""

    def value(self) -> language.ShippingInfo:
        """As the domain's value."""
        return language.ShippingInfo(
            language.Receiver(self.receiver.name, self.receiver.phone),
            language.Address(self.address.zip_code, self.address.address1, self.address.address2),
            self.message,
        )


class PlaceOrder(Body):
    """What is ordered and where it goes."""

    model_config = example(lines=[{"product_id": "mug-blue", "quantity": 2}], shipping_info=_SHIPPING_INFO)

    lines: Annotated[list[OrderLineBody], Field(min_length=1, max_length=MOST_LINES)]
    shipping_info: ShippingInfoBody
    coupon_code: Id | None = None


class PayOrder(Body):
    """By card, by points, or points first and the rest by card; without `card_token` the card on file is asked.

    `points`: how many to use; without it none for `card`, and all that the order costs for `points`.
    """

    model_config = example(method="card", card_token="tok_visa")

    method: Literal["card", "points"]
    card_token: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = None
    points: Annotated[int, Field(ge=0, le=10**12)] | None = None


class ShipOrder(Body):
    """Who carries the parcel, under which number."""

    model_config = example(carrier="Snail Express", tracking_number="SX-4711")

    carrier: Name
    tracking_number: Name


class CancelOrder(Body):
    """Why."""

    model_config = example(reason="changed my mind")

    reason: Prose


class OrderAnswer(BaseModel):
    """The order after the command."""

    model_config = example(order_id="01a1fd9a-0f1b-7755-bf54-6e41f8a8e764", status="PAYMENT_WAITING", version=1)

    order_id: str
    status: OrderStatus
    version: int


class PlacedAnswer(OrderAnswer):
    """The order as placed; amounts in minor units, and what is to be paid is their difference."""

    model_config = example(
        order_id="01a1fd9a-0f1b-7755-bf54-6e41f8a8e764",
        status="PAYMENT_WAITING",
        version=1,
        currency="USD",
        total_amount=1980,
        discount_amount=0,
    )

    currency: str
    total_amount: int
    discount_amount: int


@router.post(
    "",
    response_model=PlacedAnswer,
    summary="Place an order",
    **command(
        201,
        rules="`insufficient-stock`, `coupon-not-applicable`, `coupon-already-used`, `coupon-expired`",
        invalid="`unknown-product`, `unknown-coupon`, `amount-too-large`",
        makes=True,
    ),
)
async def place_order(
    body: PlaceOrder,
    request: Request,
    caller: Customer,
    commands: UseCases,
    asked: Annotated[Neighbours, Depends(neighbours(Neighbours))],
) -> Response:
    """Place an order at today's prices; its stock is reserved and its coupon used, or nothing happens."""
    return await commands.run(
        lambda uow: service.place_order(
            uow,
            asked,
            caller=caller,
            currency=request.app.state.settings.currency,
            lines=[(line.product_id, line.quantity) for line in body.lines],
            shipping_info=body.shipping_info.value(),
            coupon_code=body.coupon_code,
        ),
        lambda order: {
            **_answer(order),
            "currency": order.currency,
            "total_amount": order.total_amount,
            "discount_amount": order.discount_amount,
        },
        status=201,
        location="/orders/{id}",
    )


@router.post(
    "/{order_id}/pay",
    response_model=OrderAnswer,
    summary="Pay an order",
    **command(
        202,
        rules="`already-paid`, `already-canceled`, `payment-in-progress`",
        invalid="`points-exceed-amount`",
    ),
)
async def pay_order(order_id: Id, body: PayOrder, caller: Customer, commands: UseCases) -> Response:
    """Ask for the payment; whether it was approved or declined, the order's status tells."""
    return await commands.run(
        lambda uow: service.pay_order(
            uow, order_id, caller=caller, method=body.method, card_token=body.card_token, points=body.points
        ),
        _answer,
        status=202,
    )


@router.post(
    "/{order_id}/change-shipping-info",
    response_model=OrderAnswer,
    summary="Send the parcel elsewhere",
    **command(rules="`already-shipped`, `already-canceled`, `payment-in-progress`"),
)
async def change_shipping_info(
    order_id: Id, body: ShippingInfoBody, caller: CustomerOrStaff, commands: UseCases
) -> Response:
    """Change where the parcel goes; `409 already-shipped` once it has left."""
    return await commands.run(
        lambda uow: service.change_shipping_info(uow, order_id, caller=caller, shipping_info=body.value()), _answer
    )


@router.post(
    "/{order_id}/ship",
    response_model=OrderAnswer,
    summary="Hand the parcel to the carrier",
    **command(rules="`not-paid`, `already-shipped`, `already-canceled`, `payment-in-progress`"),
)
async def ship_order(order_id: Id, body: ShipOrder, _: Staff, commands: UseCases) -> Response:
    """Ship a paid order; `409 not-paid` before."""
    return await commands.run(
        lambda uow: service.ship_order(uow, order_id, carrier=body.carrier, tracking_number=body.tracking_number),
        _answer,
    )


@router.post(
    "/{order_id}/start-delivery",
    response_model=OrderAnswer,
    summary="The parcel is out for delivery",
    **command(rules="`not-shipped`, `already-in-delivery`, `already-delivered`, `already-canceled`"),
)
async def start_delivery(order_id: Id, _: Staff, commands: UseCases) -> Response:
    """Note that the parcel is on its last mile."""
    return await commands.run(lambda uow: service.start_delivery(uow, order_id), _answer)


@router.post(
    "/{order_id}/complete-delivery",
    response_model=OrderAnswer,
    summary="The parcel arrived",
    **command(rules="`not-shipped`, `not-in-delivery`, `already-delivered`, `already-canceled`"),
)
async def complete_delivery(order_id: Id, _: Staff, commands: UseCases) -> Response:
    """Note that the parcel was taken."""
    return await commands.run(lambda uow: service.complete_delivery(uow, order_id), _answer)


@router.post(
    "/{order_id}/cancel",
    response_model=OrderAnswer,
    summary="Call the order off",
    **command(rules="`already-shipped`, `already-canceled`, `payment-in-progress`"),
)
async def cancel_order(order_id: Id, body: CancelOrder, caller: CustomerOrStaff, commands: UseCases) -> Response:
    """Cancel an order that has not left; what was paid is refunded afterwards."""
    return await commands.run(
        lambda uow: service.cancel_order(uow, order_id, caller=caller, reason=body.reason), _answer
    )


def _answer(order: Order) -> dict[str, Any]:
    return {"order_id": order.id, "status": order.status.value, "version": order.version}
