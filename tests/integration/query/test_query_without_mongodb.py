"""A store that is away is a 503 that comes at once, never a 500 and never a long wait."""

import asyncio
from collections.abc import AsyncIterator
from time import monotonic
from urllib.parse import urlsplit

import httpx
import pytest

from query.app import create_app
from runtime.settings import Settings
from tests.integration.query.shop import Api, Shop, an_order, token

PATHS = (
    "/orders/o-1",
    "/orders",
    "/statistics/sales",
    "/statistics/products",
    "/products",
    "/members/ann",
    "/projections",
)


class Wire:
    """A wire to MongoDB that a test can cut, and mend."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._server: asyncio.Server | None = None
        self._ends: set[asyncio.StreamWriter] = set()
        self._pumps: set[asyncio.Task[None]] = set()
        self.port = 0

    async def mend(self) -> None:
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        assert self._server is not None
        self._server.close()
        for end in self._ends:
            end.transport.abort()
        await asyncio.gather(*self._pumps, return_exceptions=True)
        self._ends.clear()

    async def _connect(self, near_in: asyncio.StreamReader, near_out: asyncio.StreamWriter) -> None:
        far_in, far_out = await asyncio.open_connection(*self._target)
        self._ends |= {near_out, far_out}
        for source, sink in ((near_in, far_out), (far_in, near_out)):
            task = asyncio.create_task(_pump(source, sink))
            self._pumps.add(task)
            task.add_done_callback(self._pumps.discard)


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    try:
        while chunk := await source.read(65536):
            sink.write(chunk)
            await sink.drain()
    except OSError:
        pass
    finally:
        sink.transport.abort()


@pytest.fixture
async def wire(mongo_url: str) -> AsyncIterator[Wire]:
    at = urlsplit(mongo_url)
    wire = Wire(at.hostname or "127.0.0.1", at.port or 27017)
    await wire.mend()
    yield wire
    await wire.cut()


@pytest.fixture
async def wired_api(wire: Wire, query_settings: Settings, shop: Shop) -> AsyncIterator[Api]:
    url = f"mongodb://127.0.0.1:{wire.port}/?directConnection=true"
    settings = query_settings.model_copy(update={"mongo_url": url})
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://query", timeout=30) as client:
            api = Api(client, app, settings)
            assert await api.follower.reaches(lambda: api.follower.available, 60)
            yield api


async def test_while_mongodb_is_away_every_view_is_unavailable_and_afterwards_served_again(
    wired_api: Api, wire: Wire, shop: Shop
) -> None:
    await shop.put("order_detail", an_order())
    assert (await wired_api.get("/orders/o-1")).status_code == 200
    await wire.cut()
    async with asyncio.timeout(10):
        while wired_api.follower.available:  # noqa: ASYNC110 - until then it may answer from memory, and tells nobody
            await asyncio.sleep(0)
    for path in PATHS:
        answer = await wired_api.get(path)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert answer.json()["type"] == "/problems/unavailable"
    assert (await wired_api.get("/readyz", None)).status_code == 503
    assert (await wired_api.get("/livez", None)).status_code == 200

    started = monotonic()
    answers = await asyncio.gather(*(wired_api.get("/orders/o-1") for _ in range(200)))
    assert {answer.status_code for answer in answers} == {503}
    assert monotonic() - started < 5, "nobody waits for a server that is known to be away"

    await shop.advance("order_detail", 12, "101:101:")
    await wire.mend()
    answer = await wired_api.get("/orders/o-1", headers=token(100) | {"Prefer": "wait=30"})
    assert answer.status_code == 200
    assert answer.headers["read-model-position"] == "12"
    assert (await wired_api.get("/readyz", None)).status_code == 200
