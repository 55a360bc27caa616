"""Server-sent events: one way to send them, for every stream of every API.

A stream reads one page, or one document, at a time and goes on only when the socket has taken it: nothing is queued
for a slow reader. One that takes nothing at all for ``READSIDE_SLOW_READER_SECONDS`` is dropped.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager, suppress
from typing import Any

from sse_starlette import EventSourceResponse, ServerSentEvent
from sse_starlette.sse import AppStatus, SendTimeoutError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from runtime.listeners import Listener
from runtime.problems import invalid_input

MEDIA_TYPE = "text/event-stream"
HEARTBEAT_SECONDS = 15
_HEARTBEAT = b": heartbeat\n"
"""Without a blank line: there is no event to end, and some readers (httpx-sse) would make an empty one of it."""
ABORT = "readside.abort"
"""The ASGI extension by which a response cuts its connection; `runtime.serving` provides it."""

# The library would cancel streams at the end of the process, half a second late and in the middle of an event; here
# they end by themselves, see `runtime.listeners`.
AppStatus.disable_automatic_graceful_drain()  # type: ignore[no-untyped-call]


class EventStream(EventSourceResponse):
    """200 with events as they come; ``leaving`` is closed when it is over, however it ends."""

    media_type = MEDIA_TYPE

    def __init__(
        self,
        events: AsyncIterator[ServerSentEvent],
        leaving: ExitStack,
        *,
        send_timeout_seconds: float,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(
            events,
            headers={"Cache-Control": "no-store", **(headers or {})},
            media_type=MEDIA_TYPE,
            ping=HEARTBEAT_SECONDS,
            ping_message_factory=lambda: _HEARTBEAT,  # type: ignore[arg-type,return-value]  # it takes bytes too
            send_timeout=send_timeout_seconds,
            sep="\n",
        )
        self._leaving = leaving

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._leaving:
            try:
                await super().__call__(scope, receive, send)
            except SendTimeoutError:
                # Closing would wait until the reader has taken what it does not take.
                abort = scope.get("extensions", {}).get(ABORT)
                if abort is not None:
                    abort["call"]()
                    await _disconnected(receive)


def event(data: bytes | str, *, event_id: str | None = None, name: str | None = None) -> ServerSentEvent:
    """One event; ``data`` is JSON."""
    text = data.decode() if isinstance(data, bytes) else data
    return ServerSentEvent(text, event=name, id=event_id, sep="\n")


def last_event_id(request: Request, form: re.Pattern[str]) -> re.Match[str] | None:
    """What a client that comes back has seen last. Raises a `Problem` where it is not of this form."""
    given = request.headers.get("last-event-id", "")
    if not given:
        return None
    found = form.fullmatch(given)
    if found is None:
        raise invalid_input((["header", "Last-Event-ID"], "not an id of this stream's events"))
    return found


@asynccontextmanager
async def leaving_with_its_caller(request: Request, listener: Listener) -> AsyncIterator[None]:
    """Dismiss the listener when the caller of a call that waits has gone away: the seat is for somebody else."""

    async def watch() -> None:
        with suppress(HTTPException):  # a body that nobody asked for, and too long
            await _disconnected(request.receive)
        listener.dismiss()

    watching = asyncio.create_task(watch())
    try:
        yield
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


LAST_EVENT_ID: dict[str, Any] = {
    "name": "Last-Event-ID",
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
    "description": "The `id` of the last event that was received; a browser's EventSource sends it by itself. It wins "
    "over any parameter that says the same.",
}


def documented_stream(description: str) -> dict[str, Any]:
    """The 200 of a stream in OpenAPI."""
    return {
        "description": f"{description} A comment every {HEARTBEAT_SECONDS} seconds keeps the connection alive. The "
        "stream ends when the token expires, after a day, and when the process ends: connect again with Last-Event-ID.",
        "content": {MEDIA_TYPE: {"schema": {"type": "string"}}},
    }
