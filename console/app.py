"""The console's process: pages, forms, health and metrics on one port."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI
from nicegui import ui
from starlette.middleware import Middleware
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from console.apis import APIS, Api
from console.desk import Desk
from console.gates import install_gates
from console.pages import install_pages
from console.static import FOLDER
from runtime.http import make_app
from runtime.settings import Settings

_POLICY = (
    # The front end compiles templates and carries inline scripts; nothing comes from, or goes to, anywhere else.
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self' data:; connect-src 'self' ws: wss:; object-src 'none'; base-uri 'self'; "
    "form-action 'self'; frame-ancestors 'none'"
)


def create_app(settings: Settings) -> FastAPI:
    """The application; one per process, because the pages are. Raises `SettingsError`."""
    desk = Desk(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await desk.close()

    def answers(api: Api) -> Callable[[], Awaitable[None]]:
        return lambda: desk.apis.ready(api)

    app = make_app(
        "Readside console",
        "The web page: sales, orders, projections, dead letters, events.",
        lifespan=lifespan,
        checks={f"{api} API": answers(api) for api in APIS},
    )
    app.user_middleware.append(Middleware(PagePolicy))
    app.mount("/static", _Kept(directory=FOLDER))
    install_gates(app, desk)
    install_pages(desk)
    ui.run_with(
        app, title="Readside", favicon="📗", dark=None, language=None, tailwind=False, show_welcome_message=False,
        gzip_middleware_factory=None, binding_refresh_interval=None,
    )  # fmt: skip
    return app


class _Kept(StaticFiles):
    """Files whose address changes with what they hold."""

    def file_response(self, *arguments: object, **more: object) -> "object":  # type: ignore[override]
        answer = super().file_response(*arguments, **more)  # type: ignore[arg-type]
        answer.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return answer


class PagePolicy:
    """What a page of the console may load and call: this console, and nothing else."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                if any(name == b"content-type" and value.startswith(b"text/html") for name, value in headers):
                    headers.append((b"content-security-policy", _POLICY.encode()))
                    # Without a referrer browsers send forms with the origin "null", and every form would look foreign.
                    headers.append((b"referrer-policy", b"same-origin"))
                message["headers"] = headers
            await send(message)

        await self._app(scope, receive, with_policy if scope["type"] == "http" else send)
