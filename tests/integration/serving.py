"""An API over a real socket, by the server that the processes use: streams do not pass an ASGI test transport."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from fastapi import FastAPI

from runtime.serving import Server, server_of
from runtime.tokens import Tokens


@dataclass(frozen=True)
class Served:
    """A running API, and those who call it."""

    app: FastAPI
    server: Server
    port: int

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def listening(self) -> int:
        """How many seats are taken."""
        count: int = self.app.state.listeners.count
        return count

    def as_(self, subject: str, scope: str) -> dict[str, str]:
        """The header of a caller."""
        tokens: Tokens = self.app.state.tokens
        return {"Authorization": f"Bearer {tokens.issue(subject, [scope])}"}

    @asynccontextmanager
    async def client(self, subject: str, scope: str) -> AsyncIterator[httpx.AsyncClient]:
        """A caller with as many connections as they like."""
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        async with httpx.AsyncClient(
            base_url=self.url, headers=self.as_(subject, scope), limits=limits, timeout=90, trust_env=False
        ) as client:
            yield client


@asynccontextmanager
async def served(app: FastAPI, port: int = 0) -> AsyncIterator[Served]:
    """The app on a free port, or on this one; at the end it is shut down as by a signal."""
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind(("127.0.0.1", port))
    server = server_of(app)
    running = asyncio.create_task(server.serve(sockets=[bound]))
    try:
        while not server.started and not running.done():  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)
        yield Served(app, server, bound.getsockname()[1])
    finally:
        server.should_exit = True
        await running


async def refusal(client: httpx.AsyncClient, path: str, **options: Any) -> httpx.Response:
    """The answer of a stream that is to be refused; one that is not would never end."""
    async with client.stream("GET", path, **options) as answer:
        assert answer.status_code != 200, "it was not refused"
        await answer.aread()
        return answer
