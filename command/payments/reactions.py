"""What the payments context does of itself, from the log: charges, refunds, voids.

```
PaymentRequested, PointsUsed ──payment_capture──▶ PaymentCaptured | PaymentFailed
OrderCanceled, PaymentDeclined ──refund──▶ (rolled back) ─▶ PaymentRefunded | PaymentRefundFailed and a dead letter
PaymentFailed, uncertain ──payment_void──▶ PaymentVoided
```

Each asks the gateway between two steps of `command.payments.service`. Whoever is killed in between asks again, under
the same key. A capture that is answered after its order was called off is recorded, and `refund`, which hears of that
as well, sends it back: whichever of the two comes first, one of them finds the payment captured and rolled back.
"""

import structlog

from command.payments import service
from command.payments.gateway import Cause, Gateway, GatewayError, GatewayNotReached, Refund
from command.payments.model import Asked
from command.steps import Steps
from command.unit_of_work import UnitOfWork
from events.envelope import Envelope
from events.ordering import RECORDED, OrderCanceled, PaymentDeclined, PaymentRequested
from events.payments import PaymentCaptured, PaymentFailed
from events.points import PointsUsed
from events.reaction import Ports, Reaction
from runtime import tracing

log = structlog.get_logger()

payment_capture = Reaction("payment_capture")
refund = Reaction("refund")
payment_void = Reaction("payment_void")
reactions = (payment_capture, refund, payment_void)


@payment_capture.on(PaymentRequested)
async def request(envelope: Envelope, ports: Ports) -> None:
    """Note what is asked for; the card is charged at once where no points have to be taken before."""
    event = envelope.event
    assert isinstance(event, PaymentRequested)
    if event.method == RECORDED:
        return
    await _note(envelope, event, ports)
    if event.points == 0:
        await _capture(envelope, event.payment_id, ports)


@payment_capture.on(PointsUsed, key=lambda event: event.order_id)
async def capture_rest(envelope: Envelope, ports: Ports) -> None:
    """The points are taken: the card pays the rest."""
    event = envelope.event
    assert isinstance(event, PointsUsed)
    await _capture(envelope, event.payment_id, ports)


@payment_capture.when_exhausted
async def give_up(envelope: Envelope, error: Exception, ports: Ports) -> bool:
    """The payment has failed: no dead letter, which would keep the order's next payment waiting."""
    event = envelope.event
    assert isinstance(event, PaymentRequested | PointsUsed)
    if isinstance(event, PaymentRequested):
        await _note(envelope, event, ports)
    if not isinstance(error, GatewayError):
        log.error("a capture failed by a bug", payment_id=event.payment_id, exc_info=error)

    async def step(uow: UnitOfWork) -> bool:
        return await service.give_up(uow, event.payment_id)

    return await ports.of(Steps).take(envelope, step)


@refund.on(OrderCanceled)
async def cancel(envelope: Envelope, ports: Ports) -> None:
    """The order was paid and called off."""
    event = envelope.event
    assert isinstance(event, OrderCanceled)
    if event.payment_id is not None:
        await _roll_back(envelope, event.payment_id, ports)


@refund.on(PaymentDeclined)
async def decline(envelope: Envelope, ports: Ports) -> None:
    """The order waits for this payment no more; it may have expired while the gateway was being asked."""
    event = envelope.event
    assert isinstance(event, PaymentDeclined)
    await _roll_back(envelope, event.payment_id, ports)


@refund.on(PaymentCaptured, key=lambda event: event.order_id)
async def return_late(envelope: Envelope, ports: Ports) -> None:
    """The answer came after the payment had been rolled back; for every other payment there is nothing to do."""

    async def step(uow: UnitOfWork) -> Refund | None:
        return await service.begin_refund(uow, envelope.aggregate_id)

    await _refund(envelope, await ports.of(Steps).take(envelope, step), ports)


@refund.when_exhausted
async def fail_refund(envelope: Envelope, error: Exception, ports: Ports) -> bool:
    """Say so, and keep the dead letter: once its retry works, the payment is refunded after all."""
    event = envelope.event
    payment_id = event.payment_id if isinstance(event, OrderCanceled | PaymentDeclined) else envelope.aggregate_id
    reason = str(error) if isinstance(error, GatewayError) else f"an error of this shop's own: {type(error).__name__}"

    async def step(uow: UnitOfWork) -> None:
        if payment_id is not None:
            await service.fail_refund(uow, payment_id, reason)

    await ports.of(Steps).take(envelope, step)
    return False


@payment_void.on(PaymentFailed)
async def void(envelope: Envelope, ports: Ports) -> None:
    """The gateway may have charged, or may do so yet: it has to undo the one and refuse the other."""
    event, payment_id = envelope.event, envelope.aggregate_id
    assert isinstance(event, PaymentFailed)
    if not event.is_uncertain:
        return
    steps = ports.of(Steps)
    if await steps.take(envelope, lambda uow: service.is_to_be_voided(uow, payment_id)):
        await ports.of(Gateway).void(payment_id, _cause(envelope))
        await steps.take(envelope, lambda uow: service.complete_void(uow, payment_id))


async def _note(envelope: Envelope, event: PaymentRequested, ports: Ports) -> None:
    asked = Asked(
        payment_id=event.payment_id,
        order_id=envelope.aggregate_id,
        member_id=event.member_id,
        amount=event.amount,
        currency=event.currency,
        points=event.points,
        card_token=event.card_token,
    )
    await ports.of(Steps).take(envelope, lambda uow: service.note(uow, asked))


async def _capture(envelope: Envelope, payment_id: str, ports: Ports) -> None:
    steps = ports.of(Steps)
    charge = await steps.take(envelope, lambda uow: service.begin_capture(uow, payment_id))
    if charge is None:
        return
    try:
        outcome = await ports.of(Gateway).charge(charge, _cause(envelope))
    except GatewayNotReached:
        await steps.take(envelope, lambda uow: service.forget_question(uow, payment_id))
        raise
    await steps.take(envelope, lambda uow: service.settle(uow, payment_id, outcome))


async def _roll_back(envelope: Envelope, payment_id: str, ports: Ports) -> None:
    async def step(uow: UnitOfWork) -> Refund | None:
        return await service.roll_back(uow, payment_id, envelope.aggregate_id)

    await _refund(envelope, await ports.of(Steps).take(envelope, step), ports)


async def _refund(envelope: Envelope, due: Refund | None, ports: Ports) -> None:
    if due is None:
        return
    await ports.of(Gateway).refund(due, _cause(envelope))
    await ports.of(Steps).take(envelope, lambda uow: service.complete_refund(uow, due.payment_id))


def _cause(envelope: Envelope) -> Cause:
    return Cause(envelope.event_id, tracing.traceparent(envelope.traceparent))
