"""HEAD wherever there is GET, as RFC 9110 asks of every server: the same answer without its body.

Not for streams: theirs has no end.
"""

from collections.abc import MutableMapping
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send


def has_head(scope: MutableMapping[str, Any]) -> bool:
    """Whether HEAD is answered where GET is."""
    return not scope["path"].endswith("/stream")


class HeadAsGet:
    """Answers HEAD as GET is answered, and leaves the body out."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD" or not has_head(scope):
            await self._app(scope, receive, send)
            return

        async def without_body(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        # A copy: the server has to go on knowing that this was a HEAD.
        as_get = {**scope, "method": "GET"}
        try:
            await self._app(as_get, receive, without_body)
        finally:
            if "route" in as_get:
                scope["route"] = as_get["route"]
