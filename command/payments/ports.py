"""What the reactions of the payments context work with: the card gateway, or what stands in for one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import structlog

from command.payments.gateway import Gateway
from command.payments.http_gateway import HttpGateway, make_client
from command.payments.ledger import Ledger
from command.payments.simulated import InProcessGateway, Simulation
from runtime.settings import Settings

log = structlog.get_logger()


@asynccontextmanager
async def ports(settings: Settings) -> AsyncIterator[dict[type[Any], Any]]:
    """The gateway of the settings, for as long as the block runs."""
    timeout_seconds = settings.payment_timeout_seconds
    if settings.payment_gateway_url is not None:
        async with make_client(settings.payment_gateway_url, timeout_seconds=timeout_seconds) as client:
            yield {Gateway: HttpGateway(client, timeout_seconds=timeout_seconds)}
        return
    log.warning("payments are simulated and no money moves; READSIDE_PAYMENT_GATEWAY_URL names a card gateway")
    ledger = Ledger(settings.data_dir)
    try:
        yield {Gateway: InProcessGateway(Simulation(ledger), timeout_seconds=timeout_seconds)}
    finally:
        ledger.close()
