"""``readside events tail``: the log as it grows, for people and for pipes.

Woken by the doorbell that wakes the projector, and by a tick for what the doorbell cannot tell: events stand in the log
a moment after the bell, when the projector has put them there. A store that is away is waited for.
"""

import asyncio
import os
import select
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress

import msgspec

from eventstore import ArchiveUnavailable, EventLog, Filter, StoredEvent, listen
from readside.errors import StartError
from runtime.clock import rfc3339
from runtime.postgres import DRIVER_ERRORS, postgres_url
from runtime.settings import Settings

_CHUNK = 500
_TICK_SECONDS = 0.25
_LONGEST_DATA = 160
_LOOK_BACK = 2_000


def run(settings: Settings, only: Filter, *, after: int | None, last: int, follow: bool, as_json: bool) -> None:
    """Print until there is nothing more, or for ever; Ctrl-C, SIGTERM and a reader that goes away end it well."""

    async def main() -> None:
        url = postgres_url(settings)
        async with EventLog(url, "events tail", archive_dir=settings.archives, pool_size=1) as log:
            tailing = asyncio.create_task(_Tail(log, only, as_json=as_json).run(url, after, last, follow=follow))
            for number in (signal.SIGINT, signal.SIGTERM):
                asyncio.get_running_loop().add_signal_handler(number, tailing.cancel)
            with suppress(asyncio.CancelledError):
                await tailing

    try:
        asyncio.run(main())
        sys.stdout.flush()
    except KeyboardInterrupt:  # before the handler stood
        return
    except BrokenPipeError:
        # Whoever read has gone, as `head` does. What Python would still flush goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except ArchiveUnavailable as error:
        raise StartError(str(error)) from None
    except DRIVER_ERRORS as error:
        raise StartError(f"the database did not play along ({error}).") from None


class _Tail:
    def __init__(self, log: EventLog, only: Filter, *, as_json: bool) -> None:
        self._log = log
        self._only = only
        self._line = json_line if as_json else line

    async def run(self, url: str, after: int | None, last: int, *, follow: bool) -> None:
        position = after
        if position is None:
            shown, position = await self._newest(last)
            self._print(shown)
        position = await self._print_from(position)
        if not follow:
            return
        rung = asyncio.Event()
        async with listen(url, rung.set):
            while True:
                try:
                    position = await self._print_from(position)
                    if _reader_has_gone():
                        raise BrokenPipeError
                except BrokenPipeError:
                    raise
                except DRIVER_ERRORS:
                    await asyncio.sleep(_TICK_SECONDS)
                rung.clear()
                with suppress(TimeoutError):
                    await asyncio.wait_for(rung.wait(), _TICK_SECONDS)

    async def _newest(self, count: int) -> tuple[Sequence[StoredEvent], int]:
        """The newest events that are wanted, and the head; looks back further and further until there are enough."""
        head, span = await self._log.head(), max(count, _LOOK_BACK)
        while True:
            since = max(0, head - span)
            found = await self._between(since, head)
            if len(found) >= count or since == 0:
                return found[len(found) - min(count, len(found)) :], head
            span *= 8

    async def _between(self, after: int, until: int) -> list[StoredEvent]:
        found: list[StoredEvent] = []
        while after < until:
            events = await self._log.get(after, _CHUNK, self._wanted)
            found += [event for event in events if event.position <= until]
            after = events[-1].position if events else until
        return found

    async def _print_from(self, position: int) -> int:
        head = await self._log.head()
        while events := await self._log.get(position, _CHUNK, self._wanted):
            self._print(events)
            position = events[-1].position
        return max(position, head)

    @property
    def _wanted(self) -> Filter | None:
        return None if self._only == Filter() else self._only

    def _print(self, events: Sequence[StoredEvent]) -> None:
        if events:
            sys.stdout.write("".join(f"{self._line(event)}\n" for event in events))
            sys.stdout.flush()


def line(event: StoredEvent) -> str:
    """For reading: position, time of recording, type, aggregate, the beginning of the data; safe for a terminal."""
    data = event.payload if len(event.payload) <= _LONGEST_DATA else event.payload[:_LONGEST_DATA] + "…"
    told = f"{event.position:>10}  {rfc3339(event.recorded_at)}  {event.event_type:<22}  "
    return printable(f"{told}{event.aggregate_type}/{event.aggregate_id}  {data}")


def json_line(event: StoredEvent) -> str:
    """For programs: one JSON object; control characters stand in it escaped."""
    fields = {
        name: getattr(event, name) for name in StoredEvent.__struct_fields__ if name not in ("snapshot", "payload")
    }
    moments = {name: rfc3339(fields[name]) for name in ("occurred_at", "recorded_at")}
    try:
        data = msgspec.json.decode(event.payload)
    except msgspec.DecodeError:  # of a broken writer
        data = event.payload
    return printable(msgspec.json.encode({**fields, **moments, "data": data}).decode())


def printable(text: str) -> str:
    r"""With what a terminal would obey, or would not show in its place, as ``\u001b`` or ``\u202e``."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else _escaped(one) for one in text)


def _escaped(character: str) -> str:
    # The form that JSON has, so that a line of JSON stays one.
    return "".join(f"\\u{unit:04x}" for unit in _utf16(character))


def _utf16(character: str) -> list[int]:
    encoded = character.encode("utf-16-be", "surrogatepass")
    return [int.from_bytes(encoded[at : at + 2], "big") for at in range(0, len(encoded), 2)]


def _reader_has_gone() -> bool:
    # A pipe says so when it is asked, also when there is nothing to write.
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return any(state & select.POLLERR for _, state in poll.poll(0))
