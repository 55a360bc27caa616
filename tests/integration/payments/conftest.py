"""One world per test."""

from collections.abc import AsyncIterator

import pytest

from runtime.settings import Settings
from tests.integration.payments.reacting import World, a_world


@pytest.fixture
async def world(settings: Settings) -> AsyncIterator[World]:
    """With half a second of patience for the gateway."""
    async with a_world(settings, payment_timeout_seconds=0.5) as world:
        yield world
