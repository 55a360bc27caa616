"""What the shipping service is told, and by which way."""

from dataclasses import dataclass

import msgspec

from command.outside import Sink
from events.envelope import Envelope
from events.ordering import ShippingInfo
from runtime.clock import rfc3339


class AddressChange(msgspec.Struct, frozen=True, kw_only=True):
    """Where an order's parcel goes from now on; of two, that of the higher ``version`` counts."""

    event_id: str
    position: int
    order_id: str
    version: int
    changed_at: str
    shipping_info: ShippingInfo


@dataclass(frozen=True, slots=True)
class ShippingService:
    """The port."""

    sink: Sink

    async def redirect(self, envelope: Envelope, shipping_info: ShippingInfo) -> None:
        """Tell the new address. Raises what its `Sink` raises."""
        told = AddressChange(
            event_id=envelope.event_id,
            position=envelope.position,
            order_id=envelope.aggregate_id,
            version=envelope.aggregate_version,
            changed_at=rfc3339(envelope.occurred_at),
            shipping_info=shipping_info,
        )
        await self.sink.tell(envelope, told)
