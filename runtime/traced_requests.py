"""A span around every request, in the caller's trace where there is one. Only there where traces are on."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runtime import tracing
from runtime.headers import traceparent_of

_ASKED_BY_MACHINES = frozenset({"/livez", "/readyz", "/metrics"})


class TracedRequests:
    """Around all other layers: their lines in the log are to know the trace."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in _ASKED_BY_MACHINES:
            await self._app(scope, receive, send)
            return
        method = scope["method"]

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                tracing.describe(http__response__status_code=message["status"])
            await send(message)

        with tracing.span(method, "server", under=_caller(scope), http__request__method=method):
            try:
                await self._app(scope, receive, noting)
            finally:
                # Known only now: of the path the template alone, since a path may hold anything.
                if route := getattr(scope.get("route"), "path", None):
                    tracing.describe(f"{method} {route}", http__route=route)


def _caller(scope: Scope) -> str | None:
    told = [value for name, value in scope["headers"] if name == b"traceparent"]
    # Of two, neither: nobody could say which trace it is.
    return traceparent_of(told[0].decode("latin-1")) if len(told) == 1 else None
