"""What every answer of every process carries, whatever it says: a request id, and headers that make browsers careful.

A caller's ``X-Request-Id`` is kept where it is fit for logs and headers; any other request gets one. It goes into the
events of a command as their correlation id, and into the log of a crash.
"""

import re
from collections.abc import MutableMapping
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runtime.ids import new_id

_FIT = re.compile(rb"[A-Za-z0-9._~:/+=@-]{1,128}")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")

CAREFUL = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",  # unless the route knows better
}
_NOTHING_TO_RUN = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
"""Of what is no page: a browser that takes it for one runs and loads nothing."""
_CAREFUL_RAW = [(name.lower().encode(), value.encode()) for name, value in CAREFUL.items()]


class AnswerHeaders:
    """Adds them to every answer that passes. The crash handler's does not: see `answer_headers`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        added = [(b"x-request-id", request_id.encode()), *_CAREFUL_RAW]

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                given = {name.lower(): value for name, value in headers}
                message["headers"] = headers + [header for header in added if header[0] not in given]
                if not given.get(b"content-type", b"").startswith(b"text/html"):
                    message["headers"].append(_NOTHING_TO_RUN)
            await send(message)

        await self._app(scope, receive, with_headers)


def answer_headers(scope: MutableMapping[str, Any]) -> dict[str, str]:
    """The same headers, for an answer that is made outside of all middleware."""
    return {"X-Request-Id": request_id_of(scope) or new_id(), **CAREFUL}


def request_id_of(scope: MutableMapping[str, Any]) -> str | None:
    """The id of a request that came through `AnswerHeaders`."""
    found: str | None = scope.get("state", {}).get("request_id")
    return found


def traceparent_of(value: str | None) -> str | None:
    """A W3C ``traceparent``, or nothing where it is none."""
    return value if value is not None and _TRACEPARENT.fullmatch(value) else None


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _FIT.fullmatch(value):
            return str(value.decode())
    return new_id()
