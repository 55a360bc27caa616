"""One log line per request: what was called and how it ended, and nothing that is anybody's business.

Of the path the route's template alone (``/orders/{order_id}``), of the query nothing, of headers the request id; no
address, no subject. Whose request it was, the events tell, which carry the request id as their correlation id.
"""

from time import perf_counter

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runtime.headers import request_id_of

log = structlog.get_logger()

_ASKED_BY_MACHINES = frozenset({"/livez", "/readyz", "/metrics"})


class AccessLog:
    """Logs every request that passes, once its answer has ended."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in _ASKED_BY_MACHINES:
            await self._app(scope, receive, send)
            return
        started, status = perf_counter(), 500  # what it will be where nobody answers

        async def noting_the_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noting_the_status)
        finally:
            log.info(
                "request",
                method=scope["method"] if scope["method"] in _METHODS else "other",
                route=getattr(scope.get("route"), "path", "unknown"),
                status=status,
                ms=round((perf_counter() - started) * 1000, 1),
                request_id=request_id_of(scope),
            )


# A method is a caller's own words too, where it is none of these.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
