"""A process that is told to end finishes what it has begun, and takes nothing new."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import httpx
import pytest
from pydantic import SecretStr

from runtime.settings import Settings
from runtime.tokens import Tokens
from tests.conftest import JWT_SECRET
from tests.integration.commanding import SHIPPING_INFO
from tests.integration.projecting import PATIENCE_SECONDS, until

PRODUCT = {"product_id": "p-1", "name": "Mug", "category": "cups", "unit_price": 500, "stock": 10}
ORDER = {"lines": [{"product_id": "p-1", "quantity": 1}], "shipping_info": SHIPPING_INFO}


@asynccontextmanager
async def a_command_api(settings: Settings) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """A process of its own, and its URL."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "readside", "command-api", "--port", "0"),
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | settings.environment() | {"READSIDE_LOG_FORMAT": "json"},
        cwd=settings.data_dir,
    )
    try:
        assert process.stderr is not None
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (found := re.search(rb"http://[\d.:]+", line := await process.stderr.readline())) is None:
                assert line, "ended early"
        url = found[0].decode()
        await until(lambda: is_listening(url), "the process to open its door")
        yield process, url
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def is_listening(url: str) -> bool:
    """Whether anybody takes a new connection."""
    host, port = url.removeprefix("http://").split(":")
    try:
        _, writer = await asyncio.open_connection(host, int(port))
    except OSError:
        return False
    writer.close()
    return True


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_request_under_way_is_answered_and_the_exit_status_is_0(
    settings: Settings, postgres_url: str, number: signal.Signals
) -> None:
    tokens = Tokens(settings.model_copy(update={"jwt_secret": SecretStr(JWT_SECRET)}))
    staff, ann = ({"Authorization": f"Bearer {tokens.issue(who, [who])}"} for who in ("staff", "customer"))
    holder = await asyncpg.connect(postgres_url)
    try:
        async with a_command_api(settings) as (process, url), httpx.AsyncClient(base_url=url, timeout=60) as client:
            assert (await client.post("/products", json=PRODUCT, headers=staff)).status_code == 201
            # The order is under way for as long as this transaction holds on to what it needs.
            held = holder.transaction()
            await held.start()
            await holder.execute("SELECT 1 FROM product_stock FOR UPDATE")
            placing = asyncio.create_task(client.post("/orders", json=ORDER, headers=ann))

            async def is_waiting() -> bool:
                return bool(await holder.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"))

            async def has_closed_its_door() -> bool:
                return not await is_listening(url)

            await until(is_waiting, "the order to wait for the lock")
            process.send_signal(number)
            await until(has_closed_its_door, "the process to close its door")
            assert (process.returncode, placing.done()) == (None, False)
            await held.rollback()

            assert (await placing).status_code == 201
            async with asyncio.timeout(PATIENCE_SECONDS):
                assert await process.wait() == 0
        assert await holder.fetchval("SELECT count(*) FROM orders") == 1
    finally:
        await holder.close()
