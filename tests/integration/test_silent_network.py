"""A network that has gone silent: nothing is refused, nothing is reset, nothing ever arrives. Only limits help."""

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import parse_qs, urlsplit

import pytest

from eventstore import listen
from runtime import postgres
from runtime.settings import Settings
from tests.integration.projecting import a_read_side, a_shop, projecting, until
from tests.torture.proxy import Proxy


@pytest.fixture
async def proxy(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Proxy]:
    """Between the projector and Postgres; the projector has less patience than usual."""
    monkeypatch.setattr(postgres, "SHORT_TIMEOUT_SECONDS", 1.0)
    parts = urlsplit(postgres_url)

    async def connect() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if folder := parse_qs(parts.query).get("host"):
            return await asyncio.open_unix_connection(f"{folder[0]}/.s.PGSQL.5432")
        return await asyncio.open_connection(parts.hostname, parts.port or 5432)

    async with Proxy(connect).listening() as proxy:
        yield proxy


def through(proxy: Proxy, url: str) -> str:
    parts = urlsplit(url)
    user = parts.netloc.rpartition("@")[0] or "postgres"
    return f"postgresql://{user}@127.0.0.1:{proxy.port}{parts.path}"


async def test_a_projector_does_not_wait_for_ever_for_a_postgres_that_has_gone_silent(
    settings: Settings, postgres_url: str, proxy: Proxy
) -> None:
    beyond = settings.model_copy(update={"postgres_url": through(proxy, postgres_url)})
    async with a_shop(postgres_url) as shop, a_read_side(settings) as read_side, projecting(beyond):
        await read_side.reached(len(shop.acknowledged))
        proxy.silence()
        await shop.place()
        proxy.heal()
        await read_side.reached(len(shop.acknowledged))


async def test_who_listens_notices_that_nothing_can_be_heard_any_more(
    postgres_url: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eventstore.doorbell._ASK_EVERY_SECONDS", 0.1)
    heard = asyncio.Event()
    async with listen(through(proxy, postgres_url), heard.set) as is_connected:

        async def connected() -> bool:
            return is_connected() and heard.is_set()

        await until(connected, "the first connection")
        proxy.silence()
        proxy.heal()
        heard.clear()
        await until(connected, "a connection after the silent one")
