"""From a batch of events to the writes of one transaction: load what is touched, fold in memory, write each once.

A fold never sees half an event: what it returns for all documents of an event is kept, or nothing of it. Documents
are immutable, so an event that fails leaves no trace.
"""

import zlib
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import msgspec
from pymongo import DeleteOne, InsertOne, ReplaceOne, UpdateMany, UpdateOne

from events.envelope import Envelope
from projector import letters
from projector.failures import DeadLetter, FailurePolicy, FoldFailed, Narrowing, Park
from projector.feed import Undecodable
from views.kit import AdditiveView, Calendar, Document, Projection, View

Write = InsertOne[dict[str, Any]] | ReplaceOne[dict[str, Any]] | UpdateOne
Sequence_ = tuple[str, str]
"""An aggregate: its type and its id. Its events are one sequence, and are parked as one."""

MARK = "_parked"
"""Field of a stored document that lacks events of a parked aggregate."""

_CACHED_DOCUMENTS = 4096


class Settlement(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of one aggregate's dead letters, in the transaction that changes the documents."""

    letters: list[UpdateOne | UpdateMany | DeleteOne]
    history: list[dict[str, Any]]
    marked: list[str]
    unmarked: list[str]


class Folded(msgspec.Struct):
    """What one batch does to a view."""

    events: int
    recorded: list[Any]
    position: int
    snapshot: str | None
    as_of: Any
    writes: list[Write]
    dead_letters: list[DeadLetter]
    settlement: Settlement | None = None


class Documents(Protocol):
    """Where documents are loaded from."""

    async def load(self, ids: Iterable[str]) -> list[dict[str, Any]]:
        """Those of these documents that exist."""


class Part(msgspec.Struct, frozen=True):
    """One of several equal parts of a view's work; every key falls to exactly one."""

    number: int
    of: int

    def holds(self, key: str) -> bool:
        """Whether the key falls to this part; the same in every process, unlike `hash`."""
        return zlib.crc32(key.encode()) % self.of == self.number


WHOLE = Part(0, 1)


class Folder:
    """Folds batches for one view. `forget` after a failed write: what was folded since is then not true."""

    def __init__(self, view: View, policy: FailurePolicy, part: Part = WHOLE) -> None:
        self._view = view
        self.part = part
        self._policy = policy
        self._subscribed = {event_type.__name__ for event_type in view.event_types}
        self.parked: set[Sequence_] = set()
        self.marks: dict[str, set[Sequence_]] = {}
        """Documents that lack events of parked aggregates: they are stored with a mark that readers see."""
        self.narrowing = Narrowing()
        self.discarded: set[int] = set()
        """Positions that an operator had this view skip for good."""

    async def fold(self, batch: Sequence[Envelope], documents: Documents) -> Folded:
        """Fold a batch that is not empty. Raises `FoldFailed` where an event deserves another attempt.

        One pass is an attempt for every event in it that fails: a thousand of them take three passes, not three each.
        """
        wanted = [envelope for envelope in batch if envelope.event_type in self._subscribed]
        if self.discarded:
            wanted = [envelope for envelope in wanted if envelope.position not in self.discarded]
        dead_letters: list[DeadLetter] = []
        retried: dict[Sequence_, FoldFailed] = {}
        await self._prepare(wanted, documents)
        for envelope in wanted:
            if isinstance(envelope.event, Undecodable) and not self.part.holds(envelope.aggregate_id):
                continue  # another part's to park
            if retried and (envelope.aggregate_type, envelope.aggregate_id) in retried:
                continue
            if self.parked and (envelope.aggregate_type, envelope.aggregate_id) in self.parked:
                dead_letters.append(self._waiting(envelope))
                continue
            try:
                if isinstance(envelope.event, Undecodable):
                    raise ValueError(envelope.event.reason)
                if self.narrowing.refused and envelope.position in self.narrowing.refused:
                    raise self.narrowing.refused[envelope.position]
                self._apply(envelope)
            except Exception as error:  # whatever a fold raises is this event's failure, and no other's
                decision = self._policy.event_failed(envelope)
                if isinstance(decision, Park):
                    dead_letters.append(self._parked(envelope, error, decision.attempts))
                else:
                    retried[envelope.aggregate_type, envelope.aggregate_id] = FoldFailed(envelope, error)
        if retried:
            raise next(iter(retried.values()))
        last = batch[-1]
        return Folded(
            events=len(batch),
            recorded=[envelope.recorded_at for envelope in batch],
            position=last.position,
            snapshot=next((e.snapshot for e in reversed(batch) if e.snapshot is not None), None),
            as_of=last.recorded_at,
            writes=self._writes(),
            dead_letters=dead_letters,
        )

    def committed(self) -> None:
        """The writes of the oldest batch are durable."""

    def forget(self) -> None:
        """Drop whatever is remembered of the view's documents."""

    async def _prepare(self, batch: Sequence[Envelope], documents: Documents) -> None:
        """Load what the batch needs."""

    def _apply(self, envelope: Envelope) -> None:
        raise NotImplementedError

    def _writes(self) -> list[Write]:
        raise NotImplementedError

    def _parked(self, envelope: Envelope, error: Exception, attempts: int) -> DeadLetter:
        self.parked.add((envelope.aggregate_type, envelope.aggregate_id))
        return letters.failed(envelope, error, attempts, documents=self._marked(envelope))

    def _waiting(self, envelope: Envelope) -> DeadLetter:
        return letters.waiting(envelope, documents=self._marked(envelope))

    def _marked(self, envelope: Envelope) -> tuple[str, ...]:
        documents = self._documents_of(envelope)
        for key in documents:
            self.marks.setdefault(key, set()).add((envelope.aggregate_type, envelope.aggregate_id))
        return documents

    def _documents_of(self, envelope: Envelope) -> tuple[str, ...]:  # noqa: ARG002  (counters need it not)
        """The documents that would lack this event, as far as they can be told; counters are none."""
        return ()


class DocumentFolder(Folder):
    """Folds a `Projection`: holds recent documents, so that an order's next event needs no read."""

    def __init__(self, view: Projection[Any], policy: FailurePolicy, part: Part = WHOLE) -> None:
        super().__init__(view, policy, part)
        self._projection = view
        self._own_documents = all(keys is None for keys, _ in view.folds.values())
        self._of_own_document = {of.__name__ for of, (keys, _) in view.folds.items() if keys is None}
        self._cache: OrderedDict[str, Document] = OrderedDict()
        self._in_use: set[str] = set()
        self._absent: set[str] = set()
        self._damaged: dict[str, Exception] = {}
        self._changed: dict[str, bool] = {}

    def forget(self) -> None:
        self._cache.clear()
        self._absent.clear()
        self._changed.clear()

    def committed(self) -> None:
        # Only now: a document that is written in this moment must not be loaded as it was before. And not those of
        # the batch that was begun meanwhile: however many they are, they are the newest, and not durable yet.
        cache, in_use = self._cache, self._in_use
        while len(cache) > _CACHED_DOCUMENTS and next(iter(cache)) not in in_use:
            cache.popitem(last=False)

    async def _prepare(self, batch: Sequence[Envelope], documents: Documents) -> None:
        self._changed = {}
        self._absent = set()
        self._damaged = {}
        self._in_use = in_use = set()
        missing: set[str] = set()
        for envelope in batch:
            for key in self._keys_if_any(envelope):
                if key in in_use:
                    continue
                in_use.add(key)
                if key in self._cache:
                    self._cache.move_to_end(key)
                elif self._own_documents and envelope.aggregate_version == 1:
                    # The first event of its aggregate: there is nothing to load. Only where no other aggregate's
                    # events touch the document; an order can be the first that a member's profile hears of.
                    self._absent.add(key)
                else:
                    missing.add(key)
        if missing:
            await self._load(missing, documents)

    async def _load(self, missing: set[str], documents: Documents) -> None:
        for loaded in await documents.load(missing):
            key = loaded["_id"]
            missing.remove(key)
            try:
                self._cache[key] = msgspec.convert(loaded, self._projection.document)
            except msgspec.ValidationError as error:
                self._damaged[key] = error
        self._absent |= missing

    def _keys(self, envelope: Envelope) -> Iterable[str]:
        entry = self._projection.folds.get(type(envelope.event))
        if entry is None:
            return ()
        keys = (envelope.aggregate_id,) if entry[0] is None else entry[0](envelope.event)
        return keys if self.part.of == 1 else [key for key in keys if self.part.holds(key)]

    def _documents_of(self, envelope: Envelope) -> tuple[str, ...]:
        if isinstance(envelope.event, Undecodable):
            # Which documents is known where that does not stand in the payload.
            return (envelope.aggregate_id,) if envelope.event_type in self._of_own_document else ()
        return tuple(self._keys_if_any(envelope))

    def _keys_if_any(self, envelope: Envelope) -> Iterable[str]:
        try:
            return tuple(self._keys(envelope))
        except Exception:  # `_apply` meets it again, where it is this event's failure, and no other's
            return ()

    def _apply(self, envelope: Envelope) -> None:
        fold = self._projection.folds[type(envelope.event)][1]
        cache = self._cache
        folded = [
            (key, fold(cache.get(key) or self._empty(key), envelope.event, envelope)) for key in self._keys(envelope)
        ]
        for key, document in folded:
            cache[key] = document
            self._changed[key] = key in self._absent

    def _empty(self, key: str) -> Document:
        if key in self._damaged:
            raise self._damaged[key]
        document: Document = self._projection.document(id=key)
        return document

    def _writes(self) -> list[Write]:
        inserts: list[Write] = []
        replacements: list[Write] = []
        for key, is_new in self._changed.items():
            stored = msgspec.to_builtins(self._cache[key])
            if key in self.marks:
                stored[MARK] = True
            # An insert costs two thirds of a replace. It fails where a document stands that should not: see ViewStore.
            if is_new:
                inserts.append(InsertOne(stored))
            else:
                replacements.append(ReplaceOne({"_id": key}, stored, upsert=True))
        # All of a kind together: they go to the server as one command each.
        return inserts + replacements


class AdditiveFolder(Folder):
    """Folds an `AdditiveView`: sums in memory, then one increment per touched document."""

    def __init__(self, view: AdditiveView, policy: FailurePolicy, calendar: Calendar) -> None:
        super().__init__(view, policy)
        self._additive = view
        self._calendar = calendar
        self._sums: dict[tuple[str, ...], dict[str, int]] = {}

    def forget(self) -> None:
        self._sums.clear()

    def _apply(self, envelope: Envelope) -> None:
        contribution = self._additive.contributions[type(envelope.event)]
        added = list(contribution(envelope.event, envelope, self._calendar))
        for bucket, increments in added:
            held = self._sums.get(bucket)
            if held is None:
                self._sums[bucket] = dict(increments)
            else:
                for field, amount in increments.items():
                    held[field] = held.get(field, 0) + amount

    def _writes(self) -> list[Write]:
        totals: dict[str, dict[str, int]] = {}
        for bucket, increments in self._sums.items():
            for document_id in self._additive.roll_up(bucket):
                held = totals.setdefault(document_id, {})
                for field, amount in increments.items():
                    held[field] = held.get(field, 0) + amount
        self._sums = {}
        return [UpdateOne({"_id": key}, {"$inc": increments}, upsert=True) for key, increments in totals.items()]


def folder_of(view: View, policy: FailurePolicy, calendar: Calendar, part: Part = WHOLE) -> Folder:
    """The folder for this kind of view."""
    if isinstance(view, Projection):
        return DocumentFolder(view, policy, part)
    if isinstance(view, AdditiveView):
        if part != WHOLE:
            raise TypeError(f"{view.name} counts: its work is shared out by event, not by document")
        return AdditiveFolder(view, policy, calendar)
    raise TypeError(f"{view.name} is no kind of view that the projector knows")
