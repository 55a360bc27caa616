"""The order, by the events that it records: every transition, and every refusal in every state."""

from collections.abc import Callable

import pytest

from command.errors import CommandRefused
from command.ordering.model import (
    LARGEST_TOTAL,
    AlreadyCanceled,
    AlreadyDelivered,
    AlreadyInDelivery,
    AlreadyPaid,
    AlreadyShipped,
    AmountTooLarge,
    InvalidPaymentStep,
    NotInDelivery,
    NotPaid,
    NotShipped,
    Order,
    OrderStatus,
    PaymentInProgress,
    PaymentStatus,
    PointsExceedAmount,
)
from events.envelope import DomainEvent
from events.ordering import (
    RECORDED,
    Address,
    AppliedCoupon,
    DeliveryCompleted,
    DeliveryStarted,
    OrderCanceled,
    OrderPaid,
    OrderPlaced,
    PaymentDeclined,
    PaymentRequested,
    Receiver,
    RefundCompleted,
    RefundFailed,
    ShippingInfo,
    ShippingInfoChanged,
    ShippingStarted,
)
from eventstore import PendingEvent
from tests.builders import LATER, ORDERER, PLACED_AT, SHIPPING_INFO, a_line, an_order

ELSEWHERE = ShippingInfo(Receiver("Ben", "556"), Address("54321", "2 Example Street", ""))

Step = Callable[[Order], None]


def request_payment(order: Order) -> None:
    order.request_payment("pay-1", method="card", at=LATER)


def approve_payment(order: Order) -> None:
    order.approve_payment(at=LATER)


def decline_payment(order: Order) -> None:
    order.decline_payment("no money", at=LATER)


def change_shipping_info(order: Order) -> None:
    order.change_shipping_info(ELSEWHERE, at=LATER)


def ship(order: Order) -> None:
    order.ship(carrier="Post", tracking_number="T-1", at=LATER)


def start_delivery(order: Order) -> None:
    order.start_delivery(at=LATER)


def complete_delivery(order: Order) -> None:
    order.complete_delivery(at=LATER)


def cancel(order: Order) -> None:
    order.cancel("mistake", canceled_by="m-1", at=LATER)


def complete_refund(order: Order) -> None:
    order.complete_refund(at=LATER)


def fail_refund(order: Order) -> None:
    order.fail_refund("account closed", at=LATER)


STATES: dict[str, tuple[Step, ...]] = {
    "waiting": (),
    "paying": (request_payment,),
    "declined": (request_payment, decline_payment),
    "preparing": (request_payment, approve_payment),
    "shipped": (request_payment, approve_payment, ship),
    "delivering": (request_payment, approve_payment, ship, start_delivery),
    "delivered": (request_payment, approve_payment, ship, start_delivery, complete_delivery),
    "canceled unpaid": (cancel,),
    "refund requested": (request_payment, approve_payment, cancel),
    "refunded": (request_payment, approve_payment, cancel, complete_refund),
    "refund failed": (request_payment, approve_payment, cancel, fail_refund),
}


def order_that_is(state: str, order: Order | None = None) -> Order:
    order = order or an_order()
    for step in STATES[state]:
        step(order)
    return order


def canceled(*, was_paid: bool) -> OrderCanceled:
    return OrderCanceled(
        payment_id="pay-1" if was_paid else None,
        reason="mistake",
        canceled_by="m-1",
        member_id="m-1",
        was_paid=was_paid,
        refund_amount=200 if was_paid else 0,
        lines=(a_line(),),
    )


REQUESTED = PaymentRequested(payment_id="pay-1", member_id="m-1", method="card", amount=200, currency="EUR")
PAID = OrderPaid(payment_id="pay-1", member_id="m-1", amount=200, points=0, lines=(a_line(),))
DECLINED = PaymentDeclined(payment_id="pay-1", reason="no money")
MOVED = ShippingInfoChanged(shipping_info=ELSEWHERE)
SHIPPED = ShippingStarted(carrier="Post", tracking_number="T-1")
REFUNDED = RefundCompleted(payment_id="pay-1", amount=200)
NOT_REFUNDED = RefundFailed(payment_id="pay-1", amount=200, reason="account closed")

TRANSITIONS: dict[tuple[str, Step], tuple[DomainEvent, OrderStatus, PaymentStatus | None]] = {
    ("waiting", request_payment): (REQUESTED, OrderStatus.PAYMENT_WAITING, PaymentStatus.REQUESTED),
    ("waiting", change_shipping_info): (MOVED, OrderStatus.PAYMENT_WAITING, None),
    ("waiting", cancel): (canceled(was_paid=False), OrderStatus.CANCELED, None),
    ("paying", approve_payment): (PAID, OrderStatus.PREPARING, PaymentStatus.APPROVED),
    ("paying", decline_payment): (DECLINED, OrderStatus.PAYMENT_WAITING, PaymentStatus.DECLINED),
    ("declined", request_payment): (REQUESTED, OrderStatus.PAYMENT_WAITING, PaymentStatus.REQUESTED),
    ("declined", change_shipping_info): (MOVED, OrderStatus.PAYMENT_WAITING, PaymentStatus.DECLINED),
    ("declined", cancel): (canceled(was_paid=False), OrderStatus.CANCELED, PaymentStatus.DECLINED),
    ("preparing", change_shipping_info): (MOVED, OrderStatus.PREPARING, PaymentStatus.APPROVED),
    ("preparing", ship): (SHIPPED, OrderStatus.SHIPPED, PaymentStatus.APPROVED),
    ("preparing", cancel): (canceled(was_paid=True), OrderStatus.CANCELED, PaymentStatus.REFUND_REQUESTED),
    ("shipped", start_delivery): (DeliveryStarted(), OrderStatus.DELIVERING, PaymentStatus.APPROVED),
    ("delivering", complete_delivery): (
        DeliveryCompleted(),
        OrderStatus.DELIVERY_COMPLETED,
        PaymentStatus.APPROVED,
    ),
    ("refund requested", complete_refund): (REFUNDED, OrderStatus.CANCELED, PaymentStatus.REFUNDED),
    ("refund requested", fail_refund): (NOT_REFUNDED, OrderStatus.CANCELED, PaymentStatus.REFUND_FAILED),
    ("refund failed", complete_refund): (REFUNDED, OrderStatus.CANCELED, PaymentStatus.REFUNDED),
}

_CANCELED = ("canceled unpaid", "refund requested", "refunded", "refund failed")
_GONE = ("shipped", "delivering", "delivered")


def _refusals_in(states: tuple[str, ...], step: Step, refusal: type[CommandRefused]) -> dict[tuple[str, Step], type]:
    return {(state, step): refusal for state in states}


REFUSALS: dict[tuple[str, Step], type[CommandRefused]] = {
    **_refusals_in(("paying",), request_payment, PaymentInProgress),
    **_refusals_in(("preparing", *_GONE), request_payment, AlreadyPaid),
    **_refusals_in(_CANCELED, request_payment, AlreadyCanceled),
    **_refusals_in(tuple(state for state in STATES if state != "paying"), approve_payment, InvalidPaymentStep),
    **_refusals_in(tuple(state for state in STATES if state != "paying"), decline_payment, InvalidPaymentStep),
    **_refusals_in(("paying",), change_shipping_info, PaymentInProgress),
    **_refusals_in(_GONE, change_shipping_info, AlreadyShipped),
    **_refusals_in(_CANCELED, change_shipping_info, AlreadyCanceled),
    **_refusals_in(("waiting", "declined"), ship, NotPaid),
    **_refusals_in(("paying",), ship, PaymentInProgress),
    **_refusals_in(_GONE, ship, AlreadyShipped),
    **_refusals_in(_CANCELED, ship, AlreadyCanceled),
    **_refusals_in(("waiting", "paying", "declined", "preparing"), start_delivery, NotShipped),
    **_refusals_in(("delivering",), start_delivery, AlreadyInDelivery),
    **_refusals_in(("delivered",), start_delivery, AlreadyDelivered),
    **_refusals_in(_CANCELED, start_delivery, AlreadyCanceled),
    **_refusals_in(("waiting", "paying", "declined", "preparing"), complete_delivery, NotShipped),
    **_refusals_in(("shipped",), complete_delivery, NotInDelivery),
    **_refusals_in(("delivered",), complete_delivery, AlreadyDelivered),
    **_refusals_in(_CANCELED, complete_delivery, AlreadyCanceled),
    **_refusals_in(("paying",), cancel, PaymentInProgress),
    **_refusals_in(_GONE, cancel, AlreadyShipped),
    **_refusals_in(_CANCELED, cancel, AlreadyCanceled),
    **_refusals_in(
        tuple(state for state in STATES if state not in ("refund requested", "refund failed")),
        complete_refund,
        InvalidPaymentStep,
    ),
    **_refusals_in(tuple(state for state in STATES if state != "refund requested"), fail_refund, InvalidPaymentStep),
}

STEPS: tuple[Step, ...] = (
    request_payment,
    approve_payment,
    decline_payment,
    change_shipping_info,
    ship,
    start_delivery,
    complete_delivery,
    cancel,
    complete_refund,
    fail_refund,
)


def test_every_step_in_every_state_is_either_a_transition_or_a_refusal() -> None:
    assert TRANSITIONS.keys() | REFUSALS.keys() == {(state, step) for state in STATES for step in STEPS}
    assert TRANSITIONS.keys() & REFUSALS.keys() == set()


@pytest.mark.parametrize(("state", "step"), TRANSITIONS, ids=lambda value: getattr(value, "__name__", value))
def test_a_transition_records_one_event_and_changes_the_status(state: str, step: Step) -> None:
    order = order_that_is(state)
    before = order.recorded

    step(order)

    event, status, payment_status = TRANSITIONS[state, step]
    assert order.recorded == (*before, PendingEvent("o-1", len(before) + 1, LATER, event))
    assert (order.status, order.payment and order.payment.status) == (status, payment_status)


@pytest.mark.parametrize(("state", "step"), REFUSALS, ids=lambda value: getattr(value, "__name__", value))
def test_a_refusal_changes_nothing(state: str, step: Step) -> None:
    order = order_that_is(state)
    before = (order.recorded, order.status, order.shipping_info, order.version)

    with pytest.raises(REFUSALS[state, step]):
        step(order)

    assert (order.recorded, order.status, order.shipping_info, order.version) == before


def test_placing_tells_everything_that_readers_need() -> None:
    order = an_order("o-1", a_line("p-1", unit_price=100, quantity=3), a_line("p-2", unit_price=50, quantity=1))

    assert order.recorded == (
        PendingEvent(
            "o-1",
            1,
            PLACED_AT,
            OrderPlaced(
                orderer=ORDERER,
                currency="EUR",
                lines=order.lines,
                total_amount=350,
                discount_amount=0,
                shipping_info=SHIPPING_INFO,
            ),
        ),
    )
    assert order.status is OrderStatus.PAYMENT_WAITING


def test_a_product_may_stand_on_several_lines() -> None:
    order = an_order("o-1", a_line("p-1"), a_line("p-1", unit_price=90))

    assert [(line.product_id, line.amount) for line in order.lines] == [("p-1", 200), ("p-1", 180)]
    assert order.total_amount == 380


def test_the_discount_lowers_what_is_asked_for_and_what_is_refunded() -> None:
    order = order_that_is("refunded", an_order("o-1", a_line(), discount_amount=30))

    asked, refund, refunded = (order.recorded[at].event for at in (1, 3, 4))
    assert isinstance(asked, PaymentRequested)
    assert isinstance(refund, OrderCanceled)
    assert isinstance(refunded, RefundCompleted)
    assert (asked.amount, refund.refund_amount, refunded.amount) == (170, 170, 170)


def test_what_begins_or_ends_a_payment_names_the_coupon() -> None:
    coupon = AppliedCoupon("i-1", "TEN")
    order = Order.place(
        "o-1",
        orderer=ORDERER,
        currency="EUR",
        lines=(a_line(),),
        shipping_info=SHIPPING_INFO,
        discount_amount=30,
        coupon=coupon,
        at=PLACED_AT,
    )
    request_payment(order)
    order.expire(at=LATER)

    told = {type(pending.event).__name__: getattr(pending.event, "coupon", None) for pending in order.recorded}
    assert told == dict.fromkeys(("OrderPlaced", "PaymentRequested", "PaymentDeclined", "OrderCanceled"), coupon)


def test_versions_count_the_events_from_one() -> None:
    order = order_that_is("delivered")

    assert [pending.aggregate_version for pending in order.recorded] == [1, 2, 3, 4, 5, 6]
    assert (order.version, order.stored_version) == (6, 0)


def test_an_amount_that_could_not_be_booked_is_refused() -> None:
    an_order("o-1", a_line(unit_price=LARGEST_TOTAL, quantity=1))

    with pytest.raises(AmountTooLarge):
        an_order("o-1", a_line(unit_price=LARGEST_TOTAL, quantity=1), a_line(unit_price=1, quantity=1))


def test_points_pay_first_and_the_card_the_rest() -> None:
    order = an_order()

    order.request_payment("pay-1", method="points", points=150, card_token="tok_visa", at=LATER)

    asked = order.recorded[-1].event
    assert isinstance(asked, PaymentRequested)
    assert (asked.points, asked.amount, asked.card_token) == (150, 50, "tok_visa")


def test_more_points_than_the_order_costs_are_refused() -> None:
    order = an_order()

    with pytest.raises(PointsExceedAmount):
        order.request_payment("pay-1", method="points", points=201, at=LATER)

    assert len(order.recorded) == 1


def test_what_was_settled_elsewhere_is_refunded_elsewhere() -> None:
    order = an_order()
    order.request_payment("pay-1", method=RECORDED, at=LATER)
    order.approve_payment(at=LATER)

    order.cancel("mistake", canceled_by="m-1", at=LATER)

    called_off, refunded = (pending.event for pending in order.recorded[-2:])
    assert isinstance(called_off, OrderCanceled)
    assert (called_off.payment_id, refunded) == (None, REFUNDED)


@pytest.mark.parametrize(
    ("state", "recorded"),
    [
        ("waiting", ["OrderCanceled"]),
        ("declined", ["OrderCanceled"]),
        ("paying", ["PaymentDeclined", "OrderCanceled"]),
    ],
)
def test_an_order_that_nobody_paid_in_time_is_called_off_also_while_a_payment_is_under_way(
    state: str, recorded: list[str]
) -> None:
    order = order_that_is(state)
    before = len(order.recorded)

    order.expire(at=LATER)

    assert [type(pending.event).__name__ for pending in order.recorded[before:]] == recorded
    assert order.status is OrderStatus.CANCELED


@pytest.mark.parametrize(
    ("state", "payment_id", "awaits", "awaits_refund"),
    [
        ("waiting", "pay-1", False, False),
        ("paying", "pay-1", True, False),
        ("paying", "pay-0", False, False),
        ("declined", "pay-1", False, False),
        ("preparing", "pay-1", False, False),
        ("refund requested", "pay-1", False, True),
        ("refund requested", "pay-0", False, False),
        ("refund failed", "pay-1", False, True),
        ("refunded", "pay-1", False, False),
    ],
)
def test_an_order_knows_which_answer_it_waits_for(
    state: str, payment_id: str, awaits: bool, awaits_refund: bool
) -> None:
    order = order_that_is(state)

    assert (order.awaits(payment_id), order.awaits_refund_of(payment_id)) == (awaits, awaits_refund)
