"""Uvicorn, and what open streams need of it: a connection that can be cut, and an end that comes soon."""

import asyncio
import socket

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from runtime.listeners import Listeners
from runtime.streams import ABORT

GRACE_SECONDS = 10
_STUCK_AFTER_SECONDS = 4.0


class _Protocol(HttpToolsProtocol):
    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {ABORT: {"call": self.transport.abort}}


class Server(uvicorn.Server):
    """At its end those who wait are told to leave first: uvicorn waits for open connections, and they would stay."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        listeners: Listeners | None = getattr(self.config.app.state, "listeners", None)  # type: ignore[union-attr]
        if listeners is not None:
            listeners.close()
        cutting = asyncio.get_running_loop().call_later(_STUCK_AFTER_SECONDS, self._cut_stuck)
        try:
            await super().shutdown(sockets)
        finally:
            cutting.cancel()

    def _cut_stuck(self) -> None:
        # Whoever takes nothing of an answer will not have taken it by the end of the grace either.
        for connection in list(self.server_state.connections):
            if isinstance(connection, HttpToolsProtocol) and connection.flow.write_paused:
                connection.transport.abort()


def server_of(app: FastAPI) -> Server:
    """A server of this app, to be given bound sockets."""
    return Server(
        uvicorn.Config(
            app,
            http=_Protocol,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,  # uvicorn would believe whatever a local process forwards; see runtime.rate_limits
            timeout_graceful_shutdown=GRACE_SECONDS,
            lifespan="on",
        )
    )
