"""Documents on the side: where a view's log is folded again without touching the view.

In a temporary SQLite database, which keeps what fits into a few megabytes of memory and the rest in a file that
nobody has to remove: memory stays the same for a thousand orders and for millions.
"""

import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

import msgspec
from pymongo import InsertOne, ReplaceOne

from projector.folding import Write

_CACHE_KIB = 32 * 1024
_KEYS_AT_A_TIME = 500  # below the most parameters that any build of SQLite takes

Json = dict[str, Any]
_encode, _decode = msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder().decode


class Scratch:
    """A view's documents by key, ordered as MongoDB orders ids. ``only``: keep these alone.

    Not for several threads. `close` it.
    """

    def __init__(self, only: Collection[str] | None = None) -> None:
        self._only = None if only is None else frozenset(only)
        self._database = sqlite3.connect("")  # no name: a temporary file of SQLite's own
        self._database.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        self._database.execute("PRAGMA journal_mode = OFF")  # nothing is ever rolled back
        self._database.execute("CREATE TABLE documents (key TEXT PRIMARY KEY, body BLOB) WITHOUT ROWID")
        self._database.execute("CREATE TABLE noted (key TEXT PRIMARY KEY) WITHOUT ROWID")

    def close(self) -> None:
        """Let everything go."""
        self._database.close()

    async def load(self, ids: Iterable[str]) -> list[Json]:
        """Those of these documents that exist."""
        return list(self.some(list(ids)).values())

    def some(self, keys: Sequence[str]) -> dict[str, Json]:
        """Those of these documents that exist, by key."""
        found: dict[str, Json] = {}
        for start in range(0, len(keys), _KEYS_AT_A_TIME):
            wanted = keys[start : start + _KEYS_AT_A_TIME]
            marks = ", ".join("?" * len(wanted))
            rows = self._database.execute(f"SELECT key, body FROM documents WHERE key IN ({marks})", wanted)  # noqa: S608 (question marks)
            found |= {key: _decode(body) for key, body in rows}
        return found

    def between(self, after: str | None, last: str | None) -> Iterator[tuple[str, Json]]:
        """The documents above a key (``None``: from the first) up to and with another (``None``: to the last)."""
        rows = self._database.execute(
            "SELECT key, body FROM documents WHERE (?1 IS NULL OR key > ?1) AND (?2 IS NULL OR key <= ?2) ORDER BY key",
            (after, last),
        )
        return ((key, _decode(body)) for key, body in rows)

    def keys(self) -> list[str]:
        """Every key."""
        return [key for (key,) in self._database.execute("SELECT key FROM documents")]

    def __len__(self) -> int:
        count: int = self._database.execute("SELECT count(*) FROM documents").fetchone()[0]
        return count

    def write(self, writes: Iterable[Write]) -> None:
        """What a transaction would do to the view."""
        replaced: dict[str, Json] = {}
        added: dict[str, dict[str, int]] = {}
        for write in writes:
            if isinstance(write, InsertOne):
                replaced[write._doc["_id"]] = dict(write._doc)
            elif isinstance(write, ReplaceOne):
                replaced[write._filter["_id"]] = dict(write._doc)
            else:
                assert isinstance(write._doc, dict)
                added[write._filter["_id"]] = write._doc["$inc"]
        if self._only is not None:
            added = {key: increments for key, increments in added.items() if key in self._only}
            replaced = {key: document for key, document in replaced.items() if key in self._only}
        held = self.some(list(added))
        for key, increments in added.items():
            document = replaced[key] = held.get(key, {"_id": key})
            for field, amount in increments.items():
                document[field] = document.get(field, 0) + amount
        self._database.executemany(
            "INSERT OR REPLACE INTO documents VALUES (?, ?)",
            ((key, _encode(document)) for key, document in replaced.items()),
        )

    def note(self, key: str) -> None:
        """Remember a key."""
        self._database.execute("INSERT OR IGNORE INTO noted VALUES (?)", (key,))

    def noted(self, after: str, limit: int) -> list[str]:
        """Some of the keys that were noted, in order."""
        rows = self._database.execute("SELECT key FROM noted WHERE key > ? ORDER BY key LIMIT ?", (after, limit))
        return [key for (key,) in rows]
