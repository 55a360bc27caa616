"""The order's part in the checkout saga: what other contexts say of its payment decides where it stands.

```
PaymentRequested ─▶ points: PointsUsed ─▶ payments: PaymentCaptured ────────────────────────────▶ OrderPaid
                      PointsRejected ──────┐    PaymentFailed ─▶ points: PointsReturned ─┐
                                           └──────────────────────────────────────────────┴──────▶ PaymentDeclined
OrderCanceled ──────▶ payments: PaymentRefunded ─▶ points: PointsReturned ───────────────────────▶ RefundCompleted
                        PaymentRefundFailed ─────────────────────────────────────────────────────▶ RefundFailed
```

Where no points are used, the step of the points is left out. An order answers only for the payment that it waits for:
what comes late, twice, or out of turn finds it settled and changes nothing; whoever took something for a payment that
was declined gives it back by itself.
"""

from collections.abc import Callable

from command.ordering.model import Order, PaymentStatus
from command.ordering.storage import Orders
from command.steps import Steps
from command.unit_of_work import UnitOfWork
from events.envelope import Envelope
from events.payments import PaymentCaptured, PaymentFailed, PaymentRefunded, PaymentRefundFailed
from events.points import PointsRejected, PointsReturned
from events.reaction import Ports, Reaction
from runtime.clock import now

checkout = Reaction("checkout")
reactions = (checkout,)


@checkout.on(PaymentCaptured, key=lambda event: event.order_id)
async def approve(envelope: Envelope, ports: Ports) -> None:
    """All of it is there: the order is paid."""
    event = envelope.event
    assert isinstance(event, PaymentCaptured)

    def approved(order: Order) -> None:
        if order.awaits(envelope.aggregate_id):
            order.approve_payment(at=now())

    await _settle(envelope, ports, event.order_id, approved)


@checkout.on(PaymentFailed, key=lambda event: event.order_id)
async def fail(envelope: Envelope, ports: Ports) -> None:
    """The card did not pay. With points in it, they come back first: `PointsReturned` then says so."""
    event = envelope.event
    assert isinstance(event, PaymentFailed)
    if event.points == 0:
        await _decline(envelope, ports, event.order_id, envelope.aggregate_id, event.code, event.reason)


@checkout.on(PointsRejected, key=lambda event: event.order_id)
async def reject(envelope: Envelope, ports: Ports) -> None:
    """There are not enough points: nothing was taken, and the card was not asked."""
    event = envelope.event
    assert isinstance(event, PointsRejected)
    reason = f"There are {event.balance} points, and {event.points} are needed."
    await _decline(envelope, ports, event.order_id, event.payment_id, "insufficient-points", reason)


@checkout.on(PointsReturned, key=lambda event: event.order_id)
async def take_back(envelope: Envelope, ports: Ports) -> None:
    """The last compensation is done: of a payment that failed, or of one that was refunded."""
    event = envelope.event
    assert isinstance(event, PointsReturned)
    if event.failure_code is None:
        await _complete_refund(envelope, ports, event.order_id, event.payment_id)
    else:
        reason = event.reason or "The payment was declined."
        await _decline(envelope, ports, event.order_id, event.payment_id, event.failure_code, reason)


@checkout.on(PaymentRefunded, key=lambda event: event.order_id)
async def refund(envelope: Envelope, ports: Ports) -> None:
    """The card has its money back; the points, if there were any, are still to come."""
    event = envelope.event
    assert isinstance(event, PaymentRefunded)
    if event.points == 0:
        await _complete_refund(envelope, ports, event.order_id, envelope.aggregate_id)


@checkout.on(PaymentRefundFailed, key=lambda event: event.order_id)
async def fail_refund(envelope: Envelope, ports: Ports) -> None:
    """Somebody has to look after the money; a later `PaymentRefunded` still completes the refund."""
    event = envelope.event
    assert isinstance(event, PaymentRefundFailed)
    reason = event.reason

    def failed(order: Order) -> None:
        waits = order.awaits_refund_of(envelope.aggregate_id)
        if waits and order.payment is not None and order.payment.status is PaymentStatus.REFUND_REQUESTED:
            order.fail_refund(reason, at=now())

    await _settle(envelope, ports, event.order_id, failed)


async def _decline(envelope: Envelope, ports: Ports, order_id: str, payment_id: str, code: str, reason: str) -> None:
    def declined(order: Order) -> None:
        if order.awaits(payment_id):
            order.decline_payment(reason, code=code, at=now())

    await _settle(envelope, ports, order_id, declined)


async def _complete_refund(envelope: Envelope, ports: Ports, order_id: str, payment_id: str) -> None:
    def completed(order: Order) -> None:
        if order.awaits_refund_of(payment_id):
            order.complete_refund(at=now())

    await _settle(envelope, ports, order_id, completed)


async def _settle(envelope: Envelope, ports: Ports, order_id: str, settle: Callable[[Order], None]) -> None:
    async def step(uow: UnitOfWork) -> None:
        settle(await uow.repository(Orders).get(order_id))

    await ports.of(Steps).take(envelope, step)
