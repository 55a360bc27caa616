"""A file sink at work until it is killed: ``python -m tests.crash.line_writer FILE FIRST LAST``.

It tells of events FIRST to LAST, many at once, and prints the number of each that was acknowledged. It writes a few
bytes at a time, so that SIGKILL mostly hits in the middle of a line.
"""

import asyncio
import os
import sys
import time
from pathlib import Path

import msgspec

from command.outside import FileSink
from events.ordering import DeliveryStarted
from tests.unit.views.given import an_envelope

AT_ONCE = 20
_BYTES = 37
_SECONDS = 0.0002


class Told(msgspec.Struct):
    """One event."""

    event_id: str
    filling: str


def write_in_small_pieces() -> None:
    """As a slow disk does with a large write."""
    write = os.write

    def slow(descriptor: int, told: bytes) -> int:
        time.sleep(_SECONDS)
        return write(descriptor, told[:_BYTES])

    os.write = slow  # type: ignore[assignment]


async def main(file: str, first: str, last: str) -> None:
    """Until the last, or death."""
    sink = FileSink(Path(file))
    left = iter(range(int(first), int(last) + 1))

    async def tell() -> None:
        for number in left:
            envelope = an_envelope(DeliveryStarted(), position=number)
            await sink.tell(envelope, Told(envelope.event_id, "x" * (number % 300)))
            print(number, flush=True)  # noqa: T201 - the parent reads it

    await asyncio.gather(*(tell() for _ in range(AT_ONCE)))
    await sink.close()


if __name__ == "__main__":
    write_in_small_pieces()
    asyncio.run(main(*sys.argv[1:]))
