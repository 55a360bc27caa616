"""What every HTTP surface of Readside has in common: health, metrics, documents, problems, a bound on bodies.

``/livez`` says that the process runs; ``/readyz`` that its stores answer (503 and the reasons otherwise).
"""

import asyncio
import gc
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Literal

import msgspec
from fastapi import FastAPI
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runtime import tracing
from runtime.cross_origin import allow_origins
from runtime.errors import ReadsideError
from runtime.layer import Layer
from runtime.metrics import told_of
from runtime.openapi import complete_openapi, example, problems
from runtime.problems import Problem, install_problem_handlers
from runtime.serving import server_of
from runtime.traced_requests import TracedRequests

BODY_LIMIT = 1024 * 1024
_SAY_THAT_THERE_IS_A_BODY = frozenset((b"content-length", b"transfer-encoding"))
_READY_TIMEOUT_SECONDS = 2.0

Checks = Mapping[str, Callable[[], Awaitable[None]]]
Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


class Health(BaseModel):
    """All is well."""

    model_config = example(status="ok")

    status: Literal["ok"] = "ok"


class JsonResponse(Response):
    """JSON by msgspec: structs and plain values alike, several times faster than the standard library."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return msgspec.json.encode(content)


def make_app(
    title: str, description: str, *, lifespan: Lifespan, checks: Checks, cors_origins: Sequence[str] = ()
) -> FastAPI:
    """An application with the calls that every process answers without a token.

    ``checks`` are awaited by ``/readyz``; one that raises or takes longer than two seconds makes it 503. Scripts of
    pages from ``cors_origins`` may call it; of no other page.
    """
    from importlib.metadata import version

    app = FastAPI(
        title=title,
        description=description,
        version=version("readside"),
        lifespan=lifespan,
        # The redirect would name the scheme that this process sees: behind a proxy that ends TLS, plain http.
        redirect_slashes=False,
    )
    install_problem_handlers(app)
    complete_openapi(app)
    # Each is around those before it: a body that is refused gets its headers and its line in the log too.
    app.add_middleware(BodyLimit)
    if cors_origins:
        allow_origins(app, cors_origins)
    app.add_middleware(Layer)
    if tracing.is_on():
        app.add_middleware(TracedRequests)

    @app.get("/livez", tags=["health"], summary="The process runs")
    async def livez() -> Health:
        """Always `ok`, whatever the stores do: restarting this process would not help them."""
        return Health()

    @app.get(
        "/readyz",
        tags=["health"],
        summary="The stores answer",
        responses=problems({503: "`not-ready`: `detail` says what does not answer"}),
    )
    async def readyz() -> Health:
        """Whether this process can do its work now."""
        reasons = await _failing(checks)
        if reasons:
            raise Problem(503, "not-ready", "; ".join(reasons), headers={"Retry-After": "1"})
        return Health()

    @app.get("/metrics", tags=["health"], summary="Prometheus metrics", response_class=PlainTextResponse)
    async def metrics() -> Response:
        """In Prometheus' text format."""
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return app


async def _failing(checks: Checks) -> list[str]:
    async def one(name: str, check: Callable[[], Awaitable[None]]) -> str | None:
        try:
            await asyncio.wait_for(check(), _READY_TIMEOUT_SECONDS)
        except TimeoutError:
            return f"{name} does not answer"
        except ReadsideError as error:
            return str(error)
        except Exception as error:  # whatever a driver raises, the answer is "not ready", without its details
            return f"{name} does not answer ({type(error).__name__})"
        return None

    return [reason for reason in await asyncio.gather(*(one(*item) for item in checks.items())) if reason]


class BodyLimit:
    """Refuses a body over 1 MiB with 413, before it is read whole."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        lengths = {name: value for name, value in scope["headers"] if name in _SAY_THAT_THERE_IS_A_BODY}
        if not lengths and scope["method"] == "GET":
            await self._app(scope, receive, send)
            return
        declared = lengths.get(b"content-length", b"0")
        if not declared.isdigit() or int(declared) > BODY_LIMIT:
            await _too_large().response()(scope, receive, send)
            return
        received = 0

        async def limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > BODY_LIMIT:
                # Of Starlette's own kind: any other error while a body is read becomes "400, could not be parsed".
                raise HTTPException(413, _too_large().detail)
            return message

        await self._app(scope, limited, send)


def _too_large() -> Problem:
    return Problem(413, "body-too-large", f"A request body may hold at most {BODY_LIMIT} bytes.")


async def serve(app: FastAPI, bound: socket.socket, *, data_dir: Path | None = None) -> None:
    """Serve on a bound socket until SIGINT or SIGTERM; requests that run are finished first.

    ``data_dir`` is where the process keeps files, if it does: ``/metrics`` tells how full that disk is.
    """
    # What start-up made lives as long as the process: the collector need not look at it again.
    gc.collect()
    gc.freeze()
    # By default it looks after every 700 new containers, of which a few documents are as many, all of them in use.
    gc.set_threshold(10_000, 10, 10)
    server = server_of(app)
    with told_of(server, data_dir):
        await server.serve(sockets=[bound])
