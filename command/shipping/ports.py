"""The way to the shipping service: HTTP where the settings name it, else a file in the data directory."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from command.outside import sink
from command.shipping.service import ShippingService
from runtime.settings import Settings


@asynccontextmanager
async def ports(settings: Settings) -> AsyncIterator[dict[type[Any], Any]]:
    """For as long as the block runs."""
    async with sink(settings.shipping_url, settings.data_dir / "outside" / "shipping.ndjson") as told:
        yield {ShippingService: ShippingService(told)}
