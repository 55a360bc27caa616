"""How long a command waits for others: not for ever, and nothing is half done when it gives up."""

import asyncpg
import pytest

from runtime.settings import Settings
from tests.integration.commanding import Shop, problem, shop

__all__ = ["shop"]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fifth of a second, instead of twenty."""
    monkeypatch.setattr("command.app.STATEMENT_TIMEOUT_MS", 200)


async def test_a_command_that_waits_too_long_for_a_lock_is_told_to_try_again(
    impatient: None, settings: Settings, postgres_url: str, shop: Shop
) -> None:
    await shop.product()
    holder = await asyncpg.connect(postgres_url)
    try:
        async with holder.transaction():
            await holder.execute("SELECT 1 FROM product_stock FOR UPDATE")
            answer = await shop.order()

        assert problem(answer) == (503, "unavailable")
        assert answer.headers["retry-after"] == "1"
        assert await shop.rows("SELECT 1 FROM orders") == []
        assert (await shop.order()).status_code == 201
    finally:
        await holder.close()
