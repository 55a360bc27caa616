"""What every HTTP surface of Readside has in common: health, metrics, documents, problems, a bound on bodies.

``/livez`` says that the process runs; ``/readyz`` that its stores answer (503 and the reasons otherwise).
"""

import asyncio
import gc
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

import msgspec
from fastapi import FastAPI
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runtime.errors import ReadsideError
from runtime.headers import AnswerHeaders
from runtime.problems import Problem, install_problem_handlers
from runtime.serving import server_of

BODY_LIMIT = 1024 * 1024
_READY_TIMEOUT_SECONDS = 2.0

Checks = Mapping[str, Callable[[], Awaitable[None]]]
Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


class JsonResponse(Response):
    """JSON by msgspec: structs and plain values alike, several times faster than the standard library."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return msgspec.json.encode(content)


def make_app(title: str, description: str, *, lifespan: Lifespan, checks: Checks) -> FastAPI:
    """An application with the calls that every process answers without a token.

    ``checks`` are awaited by ``/readyz``; one that raises or takes longer than two seconds makes it 503.
    """
    from importlib.metadata import version

    app = FastAPI(title=title, description=description, version=version("readside"), lifespan=lifespan)
    install_problem_handlers(app)
    app.add_middleware(BodyLimit)
    app.add_middleware(AnswerHeaders)  # the last is the outermost: a body that is refused gets them too

    @app.get("/livez", tags=["health"], summary="The process runs")
    async def livez() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz", tags=["health"], summary="The stores answer", responses={503: {"description": "Not ready"}})
    async def readyz() -> dict[str, str]:
        reasons = await _failing(checks)
        if reasons:
            raise Problem(503, "not-ready", "; ".join(reasons), headers={"Retry-After": "1"})
        return {"status": "ok"}

    @app.get("/metrics", tags=["health"], summary="Prometheus metrics", response_class=Response)
    async def metrics() -> Response:
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
        declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
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


async def serve(app: FastAPI, bound: socket.socket) -> None:
    """Serve on a bound socket until SIGINT or SIGTERM; requests that run are finished first."""
    # What start-up made lives as long as the process: the collector need not look at it again.
    gc.collect()
    gc.freeze()
    await server_of(app).serve(sockets=[bound])
