"""The points' part in the checkout saga: taken when a payment asks for them, given back when it comes to nothing.

`command.ordering.reactions` draws the whole. All events of one order are answered one by one, in the order of the log.
"""

from command.points import service
from command.steps import Steps
from command.unit_of_work import UnitOfWork
from events.envelope import Envelope
from events.ordering import RECORDED, PaymentDeclined, PaymentRequested
from events.payments import PaymentFailed, PaymentRefunded
from events.reaction import Ports, Reaction

points = Reaction("points")
reactions = (points,)


@points.on(PaymentRequested)
async def take(envelope: Envelope, ports: Ports) -> None:
    """The first step of a payment that uses points; one without any is none of this context's business."""
    event = envelope.event
    assert isinstance(event, PaymentRequested)
    if event.points == 0 or event.method == RECORDED:
        return

    async def step(uow: UnitOfWork) -> None:
        await service.use_points(
            uow,
            payment_id=event.payment_id,
            order_id=envelope.aggregate_id,
            member_id=event.member_id,
            points=event.points,
        )

    await ports.of(Steps).take(envelope, step)


@points.on(PaymentFailed, key=lambda event: event.order_id)
async def compensate(envelope: Envelope, ports: Ports) -> None:
    """The card did not pay; once the points are back, `PointsReturned` passes on why."""
    event = envelope.event
    assert isinstance(event, PaymentFailed)
    if event.points > 0:
        await _give_back(envelope, ports, envelope.aggregate_id, event.order_id, event.code, event.reason)


@points.on(PaymentRefunded, key=lambda event: event.order_id)
async def refund(envelope: Envelope, ports: Ports) -> None:
    """The card has its money back; so has the account."""
    event = envelope.event
    assert isinstance(event, PaymentRefunded)
    if event.points > 0:
        await _give_back(envelope, ports, envelope.aggregate_id, event.order_id)


@points.on(PaymentDeclined)
async def release(envelope: Envelope, ports: Ports) -> None:
    """The order waits for this payment no more: mostly as its points are back already, else as it was too late.

    A declined payment does not say whether it wanted points. So each is looked after, and one that is unknown here is
    noted as called off: were its request still to come, again or late, it must not take any.
    """
    event = envelope.event
    assert isinstance(event, PaymentDeclined)
    await _give_back(envelope, ports, event.payment_id, envelope.aggregate_id, event.code, event.reason)


async def _give_back(
    envelope: Envelope,
    ports: Ports,
    payment_id: str,
    order_id: str,
    failure_code: str | None = None,
    reason: str | None = None,
) -> None:
    async def step(uow: UnitOfWork) -> None:
        await service.give_back_points(
            uow, payment_id=payment_id, order_id=order_id, failure_code=failure_code, reason=reason
        )

    await ports.of(Steps).take(envelope, step)
