"""A Postgres that is there and cannot be used yet is an outage, told as 503; it is no crash of ours."""

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from command.app import create_app
from runtime.settings import Settings
from runtime.tokens import Tokens
from tests.torture.proxy import Proxy

_TELLS = {
    "57P03": "the database system is starting up",
    "57P01": "terminating connection due to administrator command",
    "53300": "sorry, too many clients already",
}
_ASKS_FOR_TLS = 8
"""The length of that message, and of no other."""


class Postgres:
    """The real one, or one that refuses everybody with a SQLSTATE."""

    def __init__(self, url: str) -> None:
        self._url = urlsplit(url)
        self.refuses_with: str | None = None
        self.refusing_port = 0

    async def connect(self) -> tuple[StreamReader, StreamWriter]:
        """To whichever it is now."""
        if self.refuses_with is not None:
            return await asyncio.open_connection("127.0.0.1", self.refusing_port)
        if folder := parse_qs(self._url.query).get("host"):
            return await asyncio.open_unix_connection(f"{folder[0]}/.s.PGSQL.5432")
        return await asyncio.open_connection(self._url.hostname, self._url.port or 5432)

    async def refuse(self, reader: StreamReader, writer: StreamWriter) -> None:
        """The server's side of a connection that is refused."""
        sqlstate = self.refuses_with or ""
        while (length := int.from_bytes(await reader.readexactly(4), "big")) == _ASKS_FOR_TLS:
            await reader.readexactly(4)
            writer.write(b"N")
        await reader.readexactly(length - 4)
        fields = {"S": "FATAL", "V": "FATAL", "C": sqlstate, "M": _TELLS[sqlstate]}
        told = b"".join(f"{name}{value}\0".encode() for name, value in fields.items()) + b"\0"
        writer.write(b"E" + (len(told) + 4).to_bytes(4, "big") + told)
        await writer.drain()
        writer.close()


@asynccontextmanager
async def a_postgres(url: str) -> AsyncIterator[tuple[Postgres, Proxy]]:
    """Behind a proxy that leads to whatever it is."""
    postgres = Postgres(url)
    refusing = await asyncio.start_server(postgres.refuse, "127.0.0.1", 0)
    postgres.refusing_port = refusing.sockets[0].getsockname()[1]
    try:
        async with Proxy(postgres.connect).listening() as proxy:
            yield postgres, proxy
    finally:
        refusing.close()


@pytest.mark.parametrize("sqlstate", _TELLS)
async def test_a_server_that_cannot_serve_now_is_an_outage(
    settings: Settings, postgres_url: str, sqlstate: str
) -> None:
    async with a_postgres(postgres_url) as (postgres, proxy):
        parts = urlsplit(postgres_url)
        user = parts.netloc.rpartition("@")[0] or "postgres"
        url = f"postgresql://{user}@127.0.0.1:{proxy.port}{parts.path}"
        app = create_app(settings.model_copy(update={"postgres_url": url}))
        staff = {"Authorization": f"Bearer {Tokens(settings).issue('sam', ['staff'])}"}
        product = {"product_id": "p-1", "name": "Mug", "category": "cups", "unit_price": 500, "stock": 10}
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://t") as http,
        ):
            postgres.refuses_with = sqlstate
            # What is connected already must connect anew.
            proxy.cut()
            proxy.heal()
            refused = [await http.post("/products", json=product, headers=staff) for _ in range(3)]
            postgres.refuses_with = None
            registered = await http.post("/products", json=product, headers=staff)

    assert [(one.status_code, one.json()["type"]) for one in refused] == [(503, "/problems/unavailable")] * 3
    assert registered.status_code == 201
