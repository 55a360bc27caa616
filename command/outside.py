"""Where reactions put what others are to know of an event: an HTTP service, or a file of JSON lines.

Both may be told the same event twice, and say so to whoever is behind them: the HTTP sink by an ``Idempotency-Key``,
which is the event's id; the file by having one line per event id.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import httpx
import msgspec

from events.envelope import Envelope
from events.reaction import NotNow
from runtime import tracing
from runtime.group_commit import GroupCommit
from runtime.line_file import Line, LineFile
from runtime.outside_http import TIMEOUT_SECONDS, OutsideError, outside_client, post_json


class Sink(Protocol):
    """Takes what is told of an event."""

    async def tell(self, envelope: Envelope, told: Any) -> None:
        """Comes back once it is taken for good. ``told`` is a struct with the event's id as ``event_id``."""


class HttpSink:
    """POSTs to one URL. Anything but a 2xx answer in time is a failed attempt."""

    def __init__(self, client: httpx.AsyncClient, url: str, *, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self._client, self._url, self._timeout_seconds = client, url, timeout_seconds

    async def tell(self, envelope: Envelope, told: Any) -> None:
        """Raises `OutsideError`."""
        answer = await post_json(
            self._client,
            self._url,
            msgspec.json.encode(told),
            idempotency_key=envelope.event_id,
            traceparent=tracing.traceparent(envelope.traceparent),
            timeout_seconds=self._timeout_seconds,
        )
        if not answer.is_success:
            raise OutsideError(f"answered {answer.status_code}")


class FileSink:
    """Appends to a file of this machine. The disk is ours: while it is full, an event waits, and fails no attempt."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = LineFile(path)
        self._appending = GroupCommit(self._file.append)

    async def tell(self, envelope: Envelope, told: Any) -> None:
        """Raises `NotNow`."""
        try:
            await self._appending.add(Line(envelope.event_id, msgspec.json.encode(told)))
        except OSError as error:
            raise NotNow(f"{self._path}: {error.strerror or error}") from error

    async def close(self) -> None:
        """Once nothing is being written any more."""
        await self._appending.close()
        self._file.close()


@asynccontextmanager
async def sink(url: str | None, otherwise: Path) -> AsyncIterator[Sink]:
    """The service at ``url``, or without one the file."""
    if url is None:
        file = FileSink(otherwise)
        try:
            yield file
        finally:
            await file.close()
    else:
        async with outside_client() as client:
            yield HttpSink(client, url)
