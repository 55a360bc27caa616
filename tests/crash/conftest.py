"""A shop to write to, and the views that must be right in the end."""

from collections.abc import AsyncIterator

import pytest

from runtime.settings import Settings
from tests.integration.projecting import ReadSide, Shop, a_read_side, a_shop


@pytest.fixture
async def shop(postgres_url: str) -> AsyncIterator[Shop]:
    """An opened shop."""
    async with a_shop(postgres_url) as shop:
        yield shop


@pytest.fixture
async def read_side(settings: Settings) -> AsyncIterator[ReadSide]:
    """The views of this test."""
    async with a_read_side(settings) as read_side:
        yield read_side
