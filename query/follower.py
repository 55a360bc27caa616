"""The follower: what the projector wrote about its progress, in memory, as it changes.

Guarantees, to every request:

- What it tells has been written: it reads with majority concern, and applies changes in the order in which they were
  made. It may be some milliseconds old, so a position is a lower bound of what an answer read afterwards includes.
- After an interruption everything is read anew before anything is told again; until then `available` is false. While
  MongoDB is away no request has to find that out by itself, in five seconds and a thread of its own.
- Knowing how fresh an answer is costs a request no round trip.

The stream is opened *before* everything is read. The other way round looks tidier, and loses what changes in between.
"""

import asyncio
import contextlib
import random
from collections.abc import Callable
from time import monotonic
from types import TracebackType
from typing import Any

import msgspec
import structlog
from pymongo.errors import PyMongoError
from pymongo.read_concern import ReadConcern

from query.change_stream import Change, batches_of_changes
from query.freshness import Checkpoint, LogState
from query.remembered import Remembered
from runtime.mongo import ReadDatabase
from runtime.tasks import ended

log = structlog.get_logger()

REGISTRY, CHECKPOINTS = "registry", "checkpoints"
_LOG_ID = "$log"
_FOLLOWED = (REGISTRY, CHECKPOINTS)
_PATIENCE_SECONDS = 5.0
_LONGEST_BACKOFF_SECONDS = 2.0

Documents = dict[str, dict[str, Any]]


class _OutOfStep(Exception):
    """A change that cannot be taken in by itself: everything has to be read anew."""


class Follower:
    """Follows ``registry`` and ``checkpoints`` for as long as it is entered."""

    def __init__(self, database: ReadDatabase, remembered: Remembered) -> None:
        self._database = database
        self._remembered = remembered
        self._majority = database.with_options(read_concern=ReadConcern("majority"))
        self._documents: dict[str, Documents] = {name: {} for name in _FOLLOWED}
        self._checkpoints: dict[str, Checkpoint] = {}
        self._answered_at: float | None = None
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.log: LogState | None = None

    async def __aenter__(self) -> "Follower":
        self._task = asyncio.create_task(self._follow())
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        assert self._task is not None
        await ended(self._task)

    @property
    def available(self) -> bool:
        """Whether MongoDB answered a moment ago, and everything was read since it was last away."""
        return self._answered_at is not None and monotonic() - self._answered_at < _PATIENCE_SECONDS

    def checkpoint(self, view: str) -> Checkpoint | None:
        """That of the instance which is served; ``None`` while the projector has not made the view."""
        entry = self._documents[REGISTRY].get(view)
        return None if entry is None else self._checkpoints.get(entry["active"])

    def role(self, checkpoint: Checkpoint) -> str:
        """What an instance is to its view: ``active``, ``building``, ``previous``, or ``retired`` where it is none."""
        entry = self._documents[REGISTRY].get(checkpoint.view, {})
        roles = (role for role in ("active", "building", "previous") if entry.get(role) == checkpoint.instance)
        return next(roles, "retired")

    def checkpoints(self) -> list[Checkpoint]:
        """All there are, those of instances that are being built too."""
        return sorted(self._checkpoints.values(), key=lambda one: (one.view, one.version, one.instance))

    async def reaches(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Wait until the condition holds; it is looked at now and after every change."""
        if condition():
            return True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not condition():
                    await self._changed.wait()
                return True
        return False

    async def changed(self) -> None:
        """Return after the next change."""
        await self._changed.wait()

    async def _follow(self) -> None:
        failures = 0
        while True:
            try:
                await self._follow_one_stream()
            except (PyMongoError, TimeoutError, msgspec.ValidationError, _OutOfStep) as error:
                if self._answered_at is not None:
                    failures = 0
                self._answered_at = None
                if failures == 0:
                    log.warning("lost sight of the projector's progress", reason=_first_line(error))
                failures += 1
                longest = min(_LONGEST_BACKOFF_SECONDS, 0.05 * 2**failures)
                await asyncio.sleep(random.uniform(longest / 2, longest))  # noqa: S311 - jitter guards nothing

    async def _follow_one_stream(self) -> None:
        is_open = False
        async with contextlib.aclosing(batches_of_changes(self._database, _FOLLOWED)) as stream:
            async for changes in stream:
                if not is_open:
                    await self._read_everything()
                    is_open = True
                for change in changes:
                    self._apply(change)
                self._answered_at = monotonic()
                if changes:
                    self._tell()
        raise _OutOfStep("the stream ended")

    async def _read_everything(self) -> None:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            found = [await self._majority[name].find().to_list(None) for name in _FOLLOWED]
        was_away = self._answered_at is None
        self._remembered.forget_everything()
        self._documents = {
            name: {document["_id"]: document for document in documents}
            for name, documents in zip(_FOLLOWED, found, strict=True)
        }
        self._checkpoints = {}
        self.log = None
        for name, documents in self._documents.items():
            for document_id in documents:
                self._convert(name, document_id)
        self._answered_at = monotonic()
        if was_away:
            log.info("following the projector's progress", views=sorted(self._checkpoints))
        self._tell()

    def _apply(self, change: Change) -> None:
        name, kind = change["ns"]["coll"], change["operationType"]
        if kind not in ("insert", "replace", "update", "delete"):
            raise _OutOfStep(f"{name}: {kind}")
        document_id, documents = change["documentKey"]["_id"], self._documents[name]
        if name == CHECKPOINTS:
            self._remembered.forget(document_id, _touched(change))
        if kind == "delete":
            documents.pop(document_id, None)
        elif kind == "update":
            updated = change["updateDescription"]["updatedFields"]
            if document_id not in documents or any("." in field for field in updated):
                raise _OutOfStep(f"{name}: a part of {document_id} changed")
            documents[document_id].update(updated)
        else:
            documents[document_id] = change["fullDocument"]
        self._convert(name, document_id)

    def _convert(self, name: str, document_id: str) -> None:
        document = self._documents[name].get(document_id)
        if name == CHECKPOINTS and document is None:
            self._checkpoints.pop(document_id, None)
        elif name == CHECKPOINTS:
            self._checkpoints[document_id] = msgspec.convert(document, Checkpoint)
        elif document_id == _LOG_ID:
            self.log = None if document is None else msgspec.convert(document, LogState)

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def _touched(change: Change) -> list[str] | None:
    """The documents that this move of a checkpoint says it has touched; ``None`` where it says nothing of them."""
    updated = change.get("updateDescription", {}).get("updatedFields", {})
    # What was said with an earlier move still stands there: it begins with the position of that move.
    position, touched = updated.get("position"), updated.get("touched")
    return touched[1:] if touched and touched[0] == position else None


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".partition("\n")[0][:300]
