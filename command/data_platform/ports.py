"""The way to the data platform: HTTP where the settings name it, else a file in the data directory."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from command.data_platform.service import DataPlatform
from command.outside import sink
from runtime.settings import Settings


@asynccontextmanager
async def ports(settings: Settings) -> AsyncIterator[dict[type[Any], Any]]:
    """For as long as the block runs."""
    async with sink(settings.data_platform_url, settings.data_dir / "outside" / "orders.ndjson") as told:
        yield {DataPlatform: DataPlatform(told, settings.currency)}
