"""kill -9 of the command API between commit and answer: who sends the command again gets the answer, and one effect."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import httpx
import pytest

from readside.ports import hold, port_of
from readside.readiness import wait_until_ready
from runtime.settings import Settings
from runtime.tokens import Tokens
from tests.crash.lives import READSIDE

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]  # a busy machine is no failure

HOST = "127.0.0.1"
PRODUCT = {"product_id": "p-1", "name": "Mug", "category": "cups", "unit_price": 500, "stock": 10}


@asynccontextmanager
async def a_command_api(settings: Settings, port: int, *argv: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Ready to serve; killed at the end of the block at the latest."""
    told = settings.model_copy(update={"mongo_url": None}).environment()
    process = await asyncio.create_subprocess_exec(*argv, str(port), env=os.environ | told)
    try:
        async with asyncio.timeout(120):
            await wait_until_ready(HOST, port, lambda _reason: None)
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_a_command_that_was_committed_and_not_answered_is_answered_when_it_is_sent_again(
    settings: Settings, postgres_url: str
) -> None:
    headers = {
        "Authorization": f"Bearer {Tokens(settings).issue('sam', ['staff'])}",
        "Idempotency-Key": "register the mug",
    }
    with hold(HOST, 0, "--port") as held:
        port = port_of(held)
        deadly = (sys.executable, "-m", "tests.crash.command_api", "1")
        async with httpx.AsyncClient(base_url=f"http://{HOST}:{port}", timeout=60, trust_env=False) as http:
            async with a_command_api(settings, port, *deadly) as dying:
                with pytest.raises(httpx.TransportError):
                    await http.post("/products", json=PRODUCT, headers=headers)
                async with asyncio.timeout(120):
                    assert await dying.wait() == -9
            async with a_command_api(settings, port, *READSIDE, "command-api", "--port"):
                again = await http.post("/products", json=PRODUCT, headers=headers)

    assert (again.status_code, again.json()) == (201, {"product_id": "p-1", "version": 1})
    assert again.headers["Idempotent-Replayed"] == "true"
    connection = await asyncpg.connect(postgres_url)
    try:
        found = await connection.fetch("SELECT event_type, aggregate_version FROM outbox")
    finally:
        await connection.close()
    assert [tuple(row) for row in found] == [("ProductRegistered", 1)]
