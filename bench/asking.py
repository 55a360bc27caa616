"""Requests as they come: open connections of asyncio's own streams, and nothing that costs more than it measures."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Asking:
    """A pool of connections to one server on this machine; whoever finds none free waits, or opens another."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def ask(self, request: bytes) -> dict[bytes, bytes]:
        """The headers of the answer, names in lower case. Raises where it is no success."""
        reader, writer = self._free.pop() if self._free else await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        status, *lines = head.split(b"\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(b": ") for line in lines if line)}
        body = await reader.readexactly(int(headers[b"content-length"]))
        self._free.append((reader, writer))
        if status[9:10] != b"2":
            raise ValueError(status + body[:300])
        return headers

    def close(self) -> None:
        """All of them."""
        for _, writer in self._free:
            writer.close()


@asynccontextmanager
async def asking(port: int) -> AsyncIterator[Asking]:
    """As long as the block lasts."""
    pool = Asking(port)
    try:
        yield pool
    finally:
        pool.close()
