"""Verification: whether a view is what its log makes of it, document by document; and making it so.

What it guarantees
    No false alarm, however fast the view moves: documents are read with their checkpoint and their dead letters in
    one snapshot, the log is folded up to exactly there, and only then compared. Nothing is missed: documents that
    no event made are read too, and documents that are missing are known from the fold.

    Healing leaves a view exact while events flow. One transaction first moves the checkpoint's ``unparked`` on, as a
    settled dead letter does, which shuts out a batch that was folded on what was wrong, by this owner or another;
    then it reads where the view stands, and writes what the log makes of the documents up to there. The owner finds
    its guard failed, forgets what it held, and goes on from the checkpoint.

On a crash
    A verification leaves nothing behind; a healing transaction is committed or not.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from motor.motor_asyncio import AsyncIOMotorClientSession
from pymongo import DeleteOne, ReplaceOne

from eventstore import EventLog
from projector.differences import Difference, Json, difference
from projector.folding import MARK
from projector.moments import SNAPSHOT, InstanceGoneError, Moment, moment, moment_of
from projector.refolding import Refold, Told
from projector.registry import REGISTRY, Registry, UnknownProjectionError, instance_of, version_of
from projector.scratch import Scratch
from projector.store import CHECKPOINTS
from runtime.clock import now
from runtime.errors import ReadsideError
from runtime.mongo import Database
from runtime.settings import Settings
from views import all_views
from views.kit import Calendar, View

_PAGE = 1_000
_HEALED_AT_A_TIME = 200
_LONGEST_TRANSACTION_SECONDS = 10.0
# Ids are strings; what has another id sorts apart, and no event made it.
_OF_NO_EVENT: Json = {"_id": {"$not": {"$type": "string"}}}


class VerificationRefusedError(ReadsideError):
    """What is served cannot be folded by this code."""


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """What a verification saw. ``failures``: events that the view has taken and today's folds do not."""

    instance: str
    position: int
    documents: int
    differences: int
    failures: tuple[str, ...]


class Healed(msgspec.Struct, frozen=True, kw_only=True):
    """What healing did; ``left``: documents that differ again, or still."""

    documents: int
    left: int


class Verification:
    """Of the instance that is served. Keeps its fold from comparing to healing; `close` it."""

    def __init__(self, database: Database, event_log: EventLog, view: View, instance: str, calendar: Calendar) -> None:
        self.view = view
        self.instance = instance
        self._database = database
        self._collection = database[instance]
        self._refold = Refold(event_log, view, calendar, Scratch())
        self._of_no_event: list[Any] = []

    def close(self) -> None:
        """Let the fold go."""
        self._refold.scratch.close()

    async def fold(self, told: Told) -> None:
        """Fold the log up to where the view stands."""
        start = await moment(self._database, self.view, self.instance, _OF_NO_EVENT)
        self._of_no_event = list(start.documents)
        await self._refold.advance(start.position, start.skipped, told=told)

    async def compare(self, found: Callable[[Difference], None], told: Told) -> Verified:
        """Compare every document with what was folded, going on with the view; each difference is told at once."""
        documents, differences = len(self._of_no_event), len(self._of_no_event)
        for key in self._of_no_event:
            found(Difference(key=key, kind="extra"))
        async for page, last_key, after in self._pages():
            await self._refold.advance(page.position, page.skipped)
            expected = self._refold.scratch.between(after, last_key)
            for one in differences_of(self.view, page, expected):
                differences += 1
                documents += one.kind == "missing"
                self._refold.scratch.note(one.key)
                found(one)
            documents += len(page.documents)
            told(documents, max(documents, len(self._refold.scratch)))
        return Verified(
            instance=self.instance,
            position=self._refold.position,
            documents=documents,
            differences=differences,
            failures=tuple(self._refold.failures),
        )

    async def heal(self, told: Told) -> Healed:
        """Make the documents that differed what the log makes of them, in several bounded transactions.

        Raises `VerificationRefusedError` where events failed to fold: what is right is not known then.
        """
        if self._refold.failures:
            raise VerificationRefusedError(f"{self.instance} is not healed: {self._refold.failures[0]}")
        healed = left = 0
        for start in range(0, len(self._of_no_event), _HEALED_AT_A_TIME):
            healed += await self._heal(self._of_no_event[start : start + _HEALED_AT_A_TIME])
        after = ""
        while keys := self._refold.scratch.noted(after, _HEALED_AT_A_TIME):
            healed += await self._heal(keys)
            left += len(await self.examine(keys))
            told(healed + left, 0)
            after = keys[-1]
        left += len((await moment(self._database, self.view, self.instance, _OF_NO_EVENT)).documents)
        return Healed(documents=healed, left=left)

    async def examine(self, keys: list[str]) -> list[Difference]:
        """Which of these documents differ now."""
        seen = await moment(self._database, self.view, self.instance, {"_id": {"$in": keys}})
        await self._refold.advance(seen.position, seen.skipped)
        return list(differences_of(self.view, seen, self._refold.scratch.some(keys).items()))

    async def _pages(self) -> AsyncIterator[tuple[Moment, str | None, str | None]]:
        """Moments with documents in the order of their ids; the last id (none: to the end); the one before."""
        after: str | None = None
        while True:
            wanted: Json = {"_id": {"$type": "string"}} if after is None else {"_id": {"$gt": after, "$type": "string"}}
            page = await moment(self._database, self.view, self.instance, wanted, limit=_PAGE)
            is_last = len(page.documents) < _PAGE
            last_key = None if is_last else next(reversed(page.documents))
            yield page, last_key, after
            if is_last:
                return
            after = last_key

    async def _heal(self, keys: list[Any]) -> int:
        # Folded ahead, so that the transaction, for which the projector waits, has little left to fold.
        ahead = await moment(self._database, self.view, self.instance, {"_id": {"$in": []}})
        await self._refold.advance(ahead.position, ahead.skipped)

        async def write(session: AsyncIOMotorClientSession) -> int:
            # First, so that a batch under way fails here and not at a document: whoever is second begins again.
            guarded = await self._database[CHECKPOINTS].update_one(
                {"_id": self.instance}, {"$inc": {"unparked": 1}, "$set": {"updated_at": now()}}, session=session
            )
            if guarded.matched_count != 1:
                raise InstanceGoneError(f"{self.instance} was dropped meanwhile.")
            seen = await moment_of(self._database, self.view, self.instance, {"_id": {"$in": keys}}, session)
            async with asyncio.timeout(_LONGEST_TRANSACTION_SECONDS):
                await self._refold.advance(seen.position, seen.skipped)
            expected = self._refold.scratch.some([key for key in keys if isinstance(key, str)])
            wrong = list(differences_of(self.view, seen, expected.items()))
            if wrong:
                writes = [_healing(one.key, expected.get(one.key), seen) for one in wrong]
                await self._collection.bulk_write(writes, ordered=False, session=session)
            return len(wrong)

        async with await self._database.client.start_session() as session:
            healed: int = await session.with_transaction(write, read_concern=SNAPSHOT)
        return healed


async def verification_of(database: Database, event_log: EventLog, settings: Settings, name: str) -> Verification:
    """Of a view by its name. Raises `UnknownProjectionError` and `VerificationRefusedError`."""
    view = all_views().get(name)
    if view is None:
        raise UnknownProjectionError(f"There is no projection named {name}.")
    entry = await Registry(database).entry(name)
    zone = await business_zone(database, settings)
    if version_of(entry.active) != instance_of(view, zone):
        raise VerificationRefusedError(
            f"{entry.active} is served, and this code folds {instance_of(view, zone)}: wait until that is built."
        )
    return Verification(database, event_log, view, entry.active, Calendar(zone))


async def business_zone(database: Database, settings: Settings) -> ZoneInfo:
    """The zone that the projector books in, which it tells itself: it need not be set where this runs."""
    log = await database[REGISTRY].find_one({"_id": "$log"}, {"time_zone": 1})
    return settings.zone if log is None else ZoneInfo(log["time_zone"])


def differences_of(view: View, seen: Moment, expected: Iterable[tuple[str, Json]]) -> Iterator[Difference]:
    """Of what was seen, and of what was expected beside it."""
    left = dict(seen.documents)
    for key, document in expected:
        wrong = difference(view, key, left.pop(key, None), _marked(key, document, seen))
        if wrong is not None:
            yield wrong
    for key in left:
        yield Difference(key=key, kind="extra")


def _healing(key: Any, document: Json | None, seen: Moment) -> DeleteOne | ReplaceOne[Json]:
    if document is None:
        return DeleteOne({"_id": key})
    return ReplaceOne({"_id": key}, _marked(key, document, seen), upsert=True)


def _marked(key: str, document: Json, seen: Moment) -> Json:
    return {**document, MARK: True} if key in seen.marks else document
