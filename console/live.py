"""A page that keeps itself current: its tasks run while its browser is there, and tell what is wrong.

An outage is shown and passes by itself; a session that is over leads to signing in again, with the reason.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from fastapi import Request
from nicegui import Client, ui
from starlette.responses import RedirectResponse, Response

from console import frame, scopes
from console.apis import Api, Parameters
from console.desk import Desk
from console.errors import NotSignedIn, Refused, Unreachable
from console.formatting import moment
from console.markup import Safe, tag
from console.messages import say
from console.preferences import language, theme
from console.sessions import COOKIE, Session
from console.sse import Told
from runtime.errors import ReadsideError

_AGAIN_SECONDS = 1.0
EXPIRED = "/sign-in?reason=expired"


@dataclass
class View:
    """One page of one browser."""

    desk: Desk
    session: Session
    language: str
    client: Client
    notice: ui.html
    _works: list[Callable[[], Awaitable[None]]]
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _is_there: bool = False

    def t(self, key: str, **facts: Any) -> str:
        """A message in this browser's language."""
        return say(self.language, key, **facts)

    async def get(self, api: Api, path: str, parameters: Parameters | None = None) -> Any:
        """As `Apis.get`, as whoever signed in."""
        return await self.desk.apis.get(self.session, api, path, parameters)

    def when(self, value: str | None) -> Safe:
        """A time of an API as it is shown."""
        return tag("time", moment(value, self.language, self.desk.zone, seconds=True), datetime=value, title=value)

    def region(self, **attributes: str) -> ui.html:
        """A part of the page whose HTML is replaced as things change."""
        shown = ui.html("", sanitize=False)
        for name, value in attributes.items():
            shown.props[name.strip("_").replace("_", "-")] = value
        return shown

    async def attempt(self, work: Callable[[], Awaitable[object]]) -> bool:
        """Whether it worked; else the page says why."""
        try:
            await work()
        except NotSignedIn:
            self.desk.sessions.end(self.session)
            self.client.open(EXPIRED)
            return False
        except ReadsideError as error:
            self._tell(error)
            return False
        self.show(self.notice, "")
        return True

    def show(self, region: ui.html, html: str) -> None:
        """Replace a region, where it is another one."""
        if region.content != html:
            region.content = html

    async def first(self, work: Callable[[], Awaitable[object]]) -> None:
        """Do it now, or as soon as it can be done."""
        if await self.attempt(work):
            return

        async def again() -> None:
            while not await self.attempt(work):  # noqa: ASYNC110 - the outage passes by itself; nothing tells its end
                await asyncio.sleep(_AGAIN_SECONDS)

        self._add(again)

    def every(self, seconds: float, work: Callable[[], Awaitable[object]]) -> None:
        """Do something again and again while the browser is there."""

        async def repeat() -> None:
            while True:
                await asyncio.sleep(seconds)
                await self.attempt(work)

        self._add(repeat)

    def follow(
        self,
        api: Api,
        path: str,
        parameters: Parameters | None,
        work: Callable[[Told], Awaitable[object]],
        *,
        is_state: bool = True,
    ) -> None:
        """Do something with whatever a stream tells while the browser is there."""

        async def listen() -> None:
            async for told in self._told(api, path, parameters, is_state=is_state):

                async def take(one: Told = told) -> None:
                    await work(one)

                await self.attempt(take)

        self._add(listen)

    async def _told(self, api: Api, path: str, parameters: Parameters | None, *, is_state: bool) -> AsyncIterator[Told]:
        listener, leave = self.desk.feeds.listen(self.session, api, path, parameters, is_state=is_state)
        try:
            while True:
                taken: list[Told | None] = []

                async def take(into: list[Told | None] = taken) -> None:
                    into.append(await listener.take())

                await self.attempt(take)
                if taken and taken[0] is not None:
                    yield taken[0]
        finally:
            leave()

    def _tell(self, error: ReadsideError) -> None:
        if isinstance(error, Unreachable):
            told = self.t("away", api=error.api)
        else:
            told = self.t("refused", detail=error.detail if isinstance(error, Refused) else str(error))
        self.show(self.notice, tag("p", told, class_="notice bad"))

    def start(self) -> None:
        """Begin when the browser is there, and end when it has left."""

        def begin() -> None:
            if not self._is_there:
                self._is_there = True
                for work in self._works:
                    self._begin(work)

        def end() -> None:
            for task in self._tasks:
                task.cancel()

        self.client.on_connect(begin)
        self.client.on_delete(end)

    def _add(self, work: Callable[[], Awaitable[None]]) -> None:
        self._works.append(work)
        if self._is_there:
            self._begin(work)

    def _begin(self, work: Callable[[], Awaitable[None]]) -> None:
        self._tasks.append(asyncio.ensure_future(work()))


async def opened(desk: Desk, request: Request, page: str) -> View | Response:
    """The frame of a page, or where to go instead."""
    session = desk.sessions.find(request.cookies.get(COOKIE))
    path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    if session is None or not session.is_valid:
        return RedirectResponse("/sign-in" if session is None else EXPIRED, 303)
    if page not in scopes.pages(session):
        return RedirectResponse("/", 303)
    spoken, shade, client = language(request), theme(request), ui.context.client
    ui.add_head_html(frame.head(shade) + tag("script", Safe(f'document.documentElement.lang="{spoken}"')))
    client.title = f"{say(spoken, page)} · Readside"
    ui.dark_mode({"dark": True, "light": False}.get(shade))
    # Beside the page's own <main>, not in it.
    ui.html(frame.top(spoken, shade, page, session, path), sanitize=False).move(client.layout, 0)
    ui.html(tag("h1", say(spoken, page), id="content", tabindex="-1", class_="sr"), sanitize=False)
    flash = desk.flashes.pop(session.key, "")
    ui.html(tag("p", flash, class_="notice") if flash else "", sanitize=False).props("role=status")
    notice = ui.html("", sanitize=False).props("role=status")
    return View(desk, session, spoken, client, notice, [])
