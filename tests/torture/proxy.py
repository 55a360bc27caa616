"""A TCP proxy that can be a broken network.

``cut``: connections are reset, and new ones refused, as when a host goes away. ``silence``: bytes are swallowed for
ever, and no end of the connection ever hears of it, as when a firewall forgets: only a time limit helps.
"""

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

Connect = Callable[[], Awaitable[tuple[StreamReader, StreamWriter]]]
_CHUNK_BYTES = 65_536


class Proxy:
    """Passes connections on to wherever ``connect`` leads."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._network = _Network()
        self._server: asyncio.Server | None = None

    @property
    def port(self) -> int:
        """Where it listens, on the loopback address."""
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["Proxy"]:
        """Listen for as long as the block."""
        self._server = await asyncio.start_server(self._pass_on, "127.0.0.1", 0)
        try:
            yield self
        finally:
            self._server.close()
            self._network.reset()

    def cut(self) -> None:
        """Reset what is connected, and whatever connects from now on."""
        self._network.is_cut = True
        self._network.reset()

    def silence(self) -> None:
        """Let nothing through any more on what is connected, for ever; new connections hear nothing until `heal`."""
        self._network.is_silent.set()
        self._network, silent = _Network(), self._network
        self._network.is_cut = silent.is_cut
        self._network.forgotten = [*silent.forgotten, *silent.open]
        self._network.swallows = True

    def heal(self) -> None:
        """New connections get through; those that were silenced stay so."""
        self._network.is_cut = self._network.swallows = False

    async def _pass_on(self, reader: StreamReader, writer: StreamWriter) -> None:
        network = self._network
        if network.is_cut:
            writer.transport.abort()
            return
        network.open.append(writer)
        try:
            if network.swallows:
                await _swallow(reader)
                return
            there = await self._connect()
        except OSError:
            writer.transport.abort()
            return
        network.open.append(there[1])
        await asyncio.gather(network.pump(reader, there[1]), network.pump(there[0], writer))
        for end in (writer, there[1]):
            if end in network.open:
                network.open.remove(end)


class _Network:
    """The connections that share a fate."""

    def __init__(self) -> None:
        self.open: list[StreamWriter] = []
        self.forgotten: list[StreamWriter] = []
        self.is_cut = self.swallows = False
        self.is_silent = asyncio.Event()

    def reset(self) -> None:
        for writer in [*self.open, *self.forgotten]:
            writer.transport.abort()
        self.open, self.forgotten = [], []

    async def pump(self, source: StreamReader, target: StreamWriter) -> None:
        try:
            while chunk := await source.read(_CHUNK_BYTES):
                if self.is_silent.is_set():
                    await _swallow(source)
                    return  # and nobody on the other side is told
                target.write(chunk)
                await target.drain()
            if not self.is_silent.is_set():
                target.close()
        except OSError:
            if not self.is_silent.is_set():
                target.transport.abort()


async def _swallow(source: StreamReader) -> None:
    try:
        while await source.read(_CHUNK_BYTES):
            pass
    except OSError:
        return
