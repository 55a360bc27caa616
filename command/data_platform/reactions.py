"""Every sale goes to the data platform, imported ones too: an import brings thousands at once."""

from command.data_platform.service import DataPlatform
from events.envelope import Envelope
from events.ordering import OrderPaid
from events.reaction import Ports, Reaction

data_platform = Reaction("data_platform")
reactions = (data_platform,)


@data_platform.on(OrderPaid)
async def tell_sale(envelope: Envelope, ports: Ports) -> None:
    """At least once; the event's id tells a repeat."""
    event = envelope.event
    assert isinstance(event, OrderPaid)
    await ports.of(DataPlatform).book(envelope, event)
