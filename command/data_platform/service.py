"""What the data platform is told, and by which way."""

from dataclasses import dataclass

import msgspec

from command.outside import Sink
from events.envelope import Envelope
from events.ordering import Line, OrderPaid
from runtime.clock import rfc3339


class PaidOrder(msgspec.Struct, frozen=True, kw_only=True):
    """One sale. Money in minor units of ``currency``; ``total_amount`` is before the discount.

    ``total_amount - discount_amount == payment_amount + points_used``, and the lines add up to both on the left.
    """

    event_id: str
    position: int
    order_id: str
    version: int
    member_id: str
    payment_id: str
    paid_at: str
    currency: str
    total_amount: int
    discount_amount: int
    points_used: int
    payment_amount: int
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class DataPlatform:
    """The port."""

    sink: Sink
    currency: str

    async def book(self, envelope: Envelope, event: OrderPaid) -> None:
        """Tell of a paid order. Raises what its `Sink` raises."""
        told = PaidOrder(
            event_id=envelope.event_id,
            position=envelope.position,
            order_id=envelope.aggregate_id,
            version=envelope.aggregate_version,
            member_id=event.member_id,
            payment_id=event.payment_id,
            paid_at=rfc3339(envelope.occurred_at),
            currency=self.currency,
            total_amount=sum(line.amount for line in event.lines),
            discount_amount=sum(line.discount for line in event.lines),
            points_used=event.points,
            payment_amount=event.amount,
            lines=event.lines,
        )
        await self.sink.tell(envelope, told)
