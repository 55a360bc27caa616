"""Streams of the APIs, one for all pages of a session that want the same; closed when the last of them leaves.

A stream that breaks is taken up again where it was, with a growing pause; listeners are told of the outage and of its
end. What a slow page has not taken yet is bounded: of states it gets the newest, of events the last some hundred.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from random import random

from console.apis import MOST_STREAMS, Api, Apis, Parameters
from console.errors import NotSignedIn, Refused, Unreachable
from console.sessions import Session
from console.sse import Told
from runtime.errors import ReadsideError

MOST_WAITING = 500
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.3, 5.0


class Listener:
    """A page's end of a stream: what came, in order, and what is wrong if anything is."""

    def __init__(self, most: int) -> None:
        self._waiting: deque[Told | ReadsideError | None] = deque(maxlen=most)
        self._came = asyncio.Event()

    def give(self, one: Told | ReadsideError | None) -> None:
        """Something came; ``None``: the outage is over."""
        self._waiting.append(one)
        self._came.set()

    async def take(self) -> Told | None:
        """The next; ``None`` where an outage is over. Raises what is wrong: `Unreachable` passes by itself."""
        while not self._waiting:
            self._came.clear()
            await self._came.wait()
        one = self._waiting.popleft()
        if isinstance(one, ReadsideError):
            raise one
        return one


class _Feed:
    def __init__(self, start: Callable[["_Feed"], "asyncio.Task[None]"], *, is_state: bool) -> None:
        self.is_state = is_state
        self.listeners: set[Listener] = set()
        self.last: Told | None = None
        self.trouble: ReadsideError | None = None
        self.task = start(self)

    def tell(self, one: Told | ReadsideError | None) -> None:
        for listener in self.listeners:
            listener.give(one)


class Feeds:
    """Every open stream of this process."""

    def __init__(self, apis: Apis) -> None:
        self._apis = apis
        self._feeds: dict[tuple[object, ...], _Feed] = {}

    def __len__(self) -> int:
        return len(self._feeds)

    def listen(
        self, session: Session, api: Api, path: str, parameters: Parameters | None = None, *, is_state: bool = True
    ) -> tuple[Listener, Callable[[], None]]:
        """A listener, and how it leaves. Raises `Unreachable` where there are too many streams."""
        asked = {name: value for name, value in (parameters or {}).items() if value not in (None, "")}
        key = (session.key, api, path, *sorted((name, value) for name, value in asked.items() if name != "after"))
        feed = self._feeds.get(key)
        if feed is None:
            if len(self._feeds) >= MOST_STREAMS:
                raise Unreachable(api)
            following = self._follow
            feed = _Feed(
                lambda feed: asyncio.create_task(following(feed, session, api, path, asked)), is_state=is_state
            )
            self._feeds[key] = feed
        listener = Listener(1 if is_state else MOST_WAITING)
        if is_state and feed.last is not None:
            listener.give(feed.last)
        elif feed.trouble is not None:
            listener.give(feed.trouble)
        feed.listeners.add(listener)

        def leave() -> None:
            feed.listeners.discard(listener)
            if not feed.listeners and self._feeds.get(key) is feed:
                del self._feeds[key]
                feed.task.cancel()

        return listener, leave

    def end_of(self, session: Session) -> None:
        """Close what a session that is over has open."""
        for key in [key for key in self._feeds if key[0] == session.key]:
            feed = self._feeds.pop(key)
            feed.tell(NotSignedIn("signed out"))
            feed.task.cancel()

    async def close(self) -> None:
        """Close all."""
        tasks = [feed.task for feed in self._feeds.values()]
        self._feeds.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow(self, feed: _Feed, session: Session, api: Api, path: str, parameters: Parameters) -> None:
        last, pause = "", _FIRST_PAUSE_SECONDS
        while True:
            try:
                async with self._apis.stream(session, api, path, parameters, last) as events:
                    if feed.trouble is not None:
                        feed.trouble = None
                        feed.tell(None)
                    pause = _FIRST_PAUSE_SECONDS
                    async for one in events:
                        last = one.event_id or last
                        feed.last = one if feed.is_state else None
                        feed.tell(one)
            except (NotSignedIn, Refused) as error:
                feed.trouble = error
                feed.tell(error)
                return
            except (Unreachable, ValueError):
                if feed.trouble is None:
                    feed.trouble = Unreachable(api)
                    feed.tell(feed.trouble)
            await asyncio.sleep(pause * (0.75 + random() / 2))  # noqa: S311 - jitter guards nothing
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
