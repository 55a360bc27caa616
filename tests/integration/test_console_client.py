"""How the console asks the APIs: what they refuse, streams that are shared, outages that pass."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from console.apis import Apis
from console.errors import NotSignedIn, Refused, Unreachable
from console.feeds import Feeds
from console.sessions import Session, Sessions
from projector.app import create_app as projector_app
from query.app import create_app as query_app
from runtime.settings import Settings
from tests.browser.browsing import token
from tests.conftest import JWT_SECRET
from tests.integration.serving import Served, served

STREAM = "/statistics/sales/stream"


@pytest.fixture
async def query(settings: Settings) -> AsyncIterator[Served]:
    async with served(projector_app(settings)), served(query_app(settings)) as query:
        told = settings.model_copy(update={"query_url": query.url})
        apis = Apis(told)
        async with asyncio.timeout(30):
            while True:
                try:
                    await apis.ready("query")
                    break
                except Unreachable:
                    await asyncio.sleep(0.05)
        await apis.close()
        yield query


@pytest.fixture
async def apis(settings: Settings, query: Served) -> AsyncIterator[Apis]:
    apis = Apis(settings.model_copy(update={"query_url": query.url, "command_url": "http://127.0.0.1:1"}))
    yield apis
    await apis.close()


def session_of(*scopes: str) -> Session:
    return Sessions().begin(token(JWT_SECRET, *scopes))


async def test_what_an_api_refuses_is_told_apart(apis: Apis) -> None:
    assert await apis.get(session_of("staff"), "query", "/orders") == {"items": [], "next_cursor": None}
    with pytest.raises(Refused) as refused:
        await apis.get(session_of("customer"), "query", "/statistics/sales")
    assert (refused.value.status, refused.value.slug) == (403, "forbidden")
    with pytest.raises(NotSignedIn):
        await apis.get(Sessions().begin(token("another secret of 32 bytes or more", "staff")), "query", "/orders")
    with pytest.raises(Unreachable):
        await apis.get(session_of("operator"), "command", "/events")


async def test_pages_of_a_session_share_a_stream_that_ends_with_the_last_of_them(apis: Apis, query: Served) -> None:
    feeds, session = Feeds(apis), session_of("staff")
    one, leave_one = feeds.listen(session, "query", STREAM)
    other, leave_other = feeds.listen(session, "query", STREAM)
    first, second = await one.take(), await other.take()
    assert first is not None
    assert first == second
    assert (len(feeds), query.listening) == (1, 1)
    leave_one()
    assert len(feeds) == 1
    leave_other()
    assert len(feeds) == 0
    async with asyncio.timeout(5):
        while query.listening:  # noqa: ASYNC110 - the API hears of it when the connection closes
            await asyncio.sleep(0.01)


async def test_signing_out_closes_every_stream_of_the_session(apis: Apis) -> None:
    feeds = Feeds(apis)
    sessions = Sessions(feeds.end_of)
    session = sessions.begin(token(JWT_SECRET, "staff"))
    listener, _ = feeds.listen(session, "query", STREAM)
    await listener.take()
    sessions.end(session)
    assert len(feeds) == 0
    with pytest.raises(NotSignedIn):
        await listener.take()


async def test_an_outage_is_told_and_passes_by_itself(settings: Settings) -> None:
    async with served(projector_app(settings)):
        async with served(query_app(settings)) as query:
            port = query.port
        told = settings.model_copy(update={"query_url": f"http://127.0.0.1:{port}"})
        apis = Apis(told)
        feeds = Feeds(apis)
        listener, leave = feeds.listen(session_of("staff"), "query", STREAM)
        with pytest.raises(Unreachable):
            await listener.take()
        async with served(query_app(settings), port=port):
            async with asyncio.timeout(30):
                while (state := await listener.take()) is None:
                    pass
            assert state.name == "sales"
            leave()
            await apis.close()
