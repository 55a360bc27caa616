"""Those who wait in one process: a bounded number of seats, each of them woken when its topic changes.

Guarantees:

- No wake-up is lost: one that comes between two waits is there at the next. So whoever takes a seat *first* and looks
  *then* misses nothing. Looking first, and taking a seat because there was nothing, loses what comes in between.
- Wake-ups do not queue. Ten of them while a listener was busy are one: it looks at what is there now, and a slow one
  costs no memory.
- At `close` everybody is woken and told to leave, so that no open stream holds up the end of the process.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress

LONGEST_STAY_SECONDS = 24 * 3600.0
"""Nobody stays for ever: whoever wants more comes back, and goes on where they were."""


class Listener:
    """One who waits."""

    def __init__(self, seconds: float) -> None:
        self._woken = asyncio.Event()
        self._woken.set()
        self._leaves_at = asyncio.get_running_loop().time() + min(max(0.0, seconds), LONGEST_STAY_SECONDS)
        self._dismissed = asyncio.Event()

    @property
    def stays(self) -> bool:
        """Whether there is still time, and nobody has sent everybody away."""
        return not self._dismissed.is_set() and asyncio.get_running_loop().time() < self._leaves_at

    async def woken(self) -> bool:
        """Return at once the first time, then after each wake-up; ``False`` when it is time to leave."""
        try:
            async with asyncio.timeout_at(self._leaves_at):
                await self._woken.wait()
        except TimeoutError:
            self.dismiss()  # for good: timers may be early by a clock's tick
            return False
        self._woken.clear()
        return self.stays

    async def pause(self, seconds: float) -> None:
        """Wait so long, and no longer than one may stay."""
        with suppress(TimeoutError):
            async with asyncio.timeout_at(min(self._leaves_at, asyncio.get_running_loop().time() + seconds)):
                await self._dismissed.wait()

    def wake(self) -> None:
        """Something has changed."""
        self._woken.set()

    def dismiss(self) -> None:
        """It is time to leave."""
        self._dismissed.set()
        self._woken.set()


class _Room:
    """The listeners of one kind, by what they listen to."""

    def __init__(self) -> None:
        self.by_key: dict[str, set[Listener]] = {}
        self.is_occupied = asyncio.Event()

    def enter(self, key: str, listener: Listener) -> None:
        self.by_key.setdefault(key, set()).add(listener)
        self.is_occupied.set()

    def leave(self, key: str, listener: Listener) -> None:
        self.by_key[key].discard(listener)
        if not self.by_key[key]:
            del self.by_key[key]
        if not self.by_key:
            self.is_occupied.clear()


class Listeners:
    """The seats of one process. For use on one event loop."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._rooms: defaultdict[str, _Room] = defaultdict(_Room)
        self._is_closed = False
        self.count = 0

    @contextmanager
    def seat(self, kind: str, key: str = "", *, seconds: float) -> Iterator[Listener]:
        """A seat, for so many seconds at most. Raises a `Problem` where all are taken."""
        if self.count >= self._most:
            detail = "As many listen as this process has room for; try again, or ask without waiting."
            from runtime.problems import Problem  # FastAPI takes a while to import, and not all who wait are servers

            raise Problem(503, "too-many-listeners", detail, headers={"Retry-After": "5"})
        listener, room = Listener(seconds), self._rooms[kind]
        if self._is_closed:
            listener.dismiss()
        room.enter(key, listener)
        self.count += 1
        try:
            yield listener
        finally:
            self.count -= 1
            room.leave(key, listener)

    def is_occupied(self, kind: str) -> bool:
        """Whether anybody of this kind listens."""
        return self._rooms[kind].is_occupied.is_set()

    async def occupied(self, kind: str) -> None:
        """Return when somebody of this kind listens."""
        await self._rooms[kind].is_occupied.wait()

    def wake(self, kind: str, key: str = "") -> None:
        """Wake those who listen to this key."""
        for listener in self._rooms[kind].by_key.get(key, ()):
            listener.wake()

    def wake_all(self, kind: str) -> None:
        """Wake everybody of this kind."""
        for listeners in self._rooms[kind].by_key.values():
            for listener in listeners:
                listener.wake()

    def close(self) -> None:
        """Tell everybody to leave, and whoever comes from now on too."""
        self._is_closed = True
        for room in self._rooms.values():
            for listeners in room.by_key.values():
                for listener in listeners:
                    listener.dismiss()
