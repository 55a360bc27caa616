"""Whoever ships must know the new address. In order per order, so that the last one told is the last one chosen."""

from command.shipping.service import ShippingService
from events.envelope import Envelope
from events.ordering import ShippingInfoChanged
from events.reaction import Ports, Reaction

shipping_sync = Reaction("shipping_sync")
reactions = (shipping_sync,)


@shipping_sync.on(ShippingInfoChanged)
async def tell_address(envelope: Envelope, ports: Ports) -> None:
    """At least once; the event's id tells a repeat."""
    event = envelope.event
    assert isinstance(event, ShippingInfoChanged)
    await ports.of(ShippingService).redirect(envelope, event.shipping_info)
