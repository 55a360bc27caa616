"""Documents as they were rendered last, for as long as nothing has written them.

What makes this exact: whoever writes documents of a view moves its checkpoint in the same transaction, and says there
which documents those were (``touched``), or nothing where they are many. The follower sees every move, in order, and
has what it touched forgotten *before* it tells anybody of it. So whatever is remembered while a checkpoint is known
includes all that this checkpoint stands for: what the headers say stays a lower bound of what the answer includes.

- A move that does not say what it touched forgets the whole instance; a gap in what the follower saw, everything.
- What is being read at that moment is not remembered either: the read may have begun before the write.
- Whoever writes past the projector (a hand, a restored backup) is seen after `KEPT_SECONDS`.
- Memory is bounded, in bytes; what was asked for least recently goes first.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from time import monotonic

import msgspec

KEPT_SECONDS = 60.0
MOST_BYTES = 32 * 2**20
_BESIDE_THE_BODY = 450
"""Bytes that Python needs to hold one more of them."""


class Rendered(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A document as it is answered, and what has to be known of it besides."""

    body: bytes
    version: int | None
    owner: str | None
    """Whose it is, where it is anybody's."""
    is_parked: bool


class _Shelf:
    """Of one instance."""

    __slots__ = ("bytes", "kept", "reads")

    def __init__(self) -> None:
        self.kept: OrderedDict[str, tuple[Rendered, float]] = OrderedDict()
        """Each with when it was read, on the monotonic clock."""
        self.reads: dict[str, Read] = {}
        """The newest read of each document that is under way."""
        self.bytes = 0

    def drop(self, document_id: str) -> None:
        dropped = self.kept.pop(document_id, None)
        if dropped is not None:
            self.bytes -= len(dropped[0].body) + _BESIDE_THE_BODY
        self.reads.pop(document_id, None)


class Read:
    """A read of one document, whose result may be remembered unless the document is written meanwhile."""

    __slots__ = ("_began_at", "_document_id", "_remembered", "_shelf")

    def __init__(self, remembered: "Remembered", shelf: _Shelf, document_id: str) -> None:
        self._remembered, self._shelf, self._document_id = remembered, shelf, document_id
        self._began_at = monotonic()

    def keep(self, rendered: Rendered) -> None:
        """Remember what was found, if it is not out of date already."""
        shelf, document_id = self._shelf, self._document_id
        if shelf.reads.get(document_id) is self:
            shelf.drop(document_id)
            shelf.kept[document_id] = (rendered, self._began_at)
            shelf.bytes += len(rendered.body) + _BESIDE_THE_BODY
            self._remembered.make_room()


class Remembered:
    """Of any instances of views."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._shelves: dict[str, _Shelf] = {}

    @property
    def bytes(self) -> int:
        """How much is held."""
        return sum([shelf.bytes for shelf in self._shelves.values()])

    def get(self, instance: str, document_id: str) -> Rendered | None:
        """The document, at least as new as the checkpoint that the follower tells now."""
        shelf = self._shelves.get(instance)
        found = None if shelf is None else shelf.kept.get(document_id)
        if found is None or shelf is None:
            return None
        rendered, read_at = found
        if monotonic() - read_at > KEPT_SECONDS:
            shelf.drop(document_id)
            return None
        shelf.kept.move_to_end(document_id)
        return rendered

    @contextmanager
    def reading(self, instance: str, document_id: str) -> Iterator[Read]:
        """To be entered before a document is read."""
        shelf = self._shelves.get(instance)
        if shelf is None:
            shelf = self._shelves[instance] = _Shelf()
        read = shelf.reads[document_id] = Read(self, shelf, document_id)
        try:
            yield read
        finally:
            if shelf.reads.get(document_id) is read:
                del shelf.reads[document_id]

    def forget(self, instance: str, document_ids: Iterable[str] | None = None) -> None:
        """These documents were written; without ids any of the instance may have been."""
        if document_ids is None:
            # With the shelf goes what would be put there by those who are reading.
            forgotten = self._shelves.pop(instance, None)
            if forgotten is not None:
                forgotten.reads.clear()
            return
        shelf = self._shelves.get(instance)
        if shelf is not None:
            for document_id in document_ids:
                shelf.drop(document_id)

    def forget_everything(self) -> None:
        """Writes may have been missed."""
        for instance in list(self._shelves):
            self.forget(instance)

    def make_room(self) -> None:
        """Let go of what is too much."""
        while self.bytes > self._most_bytes:
            largest = max(self._shelves.values(), key=lambda shelf: shelf.bytes)
            largest.drop(next(iter(largest.kept)))
