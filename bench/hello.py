"""What a server on this machine can do at most: an ASGI application that says hello, and the same by FastAPI."""

from types import SimpleNamespace

from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

_HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"17")]


class Bare:
    """Nothing but the protocol."""

    state = SimpleNamespace()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            for word in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{word}.complete"})
            return
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        await send({"type": "http.response.body", "body": b'{"hello":"world"}'})


def fastapi() -> FastAPI:
    """As its documentation begins."""
    app = FastAPI()

    @app.get("/")
    async def hello() -> dict[str, str]:
        return {"hello": "world"}

    return app
