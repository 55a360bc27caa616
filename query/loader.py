"""Documents by id, where all requests that wait at the same moment share one round trip.

A lookup joins a batch only before that batch is sent, never one under way: what it returns was read after it was
asked for. Reading one's own writes depends on this; joining a read under way would save more, and lose that.
"""

import asyncio
from collections import defaultdict
from typing import Any

import pymongo

from runtime.mongo import ReadDatabase

StoredDocument = dict[str, Any]

BATCH_LIMIT = 100
"""Below what a server returns in its first batch: one round trip, whatever is asked for."""
_ROUND_TRIPS_AT_ONCE = 2
_PATIENCE_SECONDS = 5.0


class Loader:
    """Finds documents of any collection of one database."""

    def __init__(self, database: ReadDatabase) -> None:
        self._database = database
        self._lines: dict[str, _Line] = {}

    async def find(self, collection: str, document_id: str) -> StoredDocument | None:
        """The document, which others may hold too: do not change it."""
        line = self._lines.get(collection)
        if line is None:
            line = self._lines[collection] = _Line(self._database, collection)
        return await line.find(document_id)


class _Line:
    """Those who wait for documents of one collection."""

    def __init__(self, database: ReadDatabase, collection: str) -> None:
        self._collection = database[collection]
        self._waiting: defaultdict[str, list[asyncio.Future[StoredDocument | None]]] = defaultdict(list)
        self._round_trips: set[asyncio.Task[None]] = set()
        self._will_send = False

    def find(self, document_id: str) -> asyncio.Future[StoredDocument | None]:
        loop = asyncio.get_running_loop()
        # One future each: a caller who goes away must not take the others' answer along.
        future: asyncio.Future[StoredDocument | None] = loop.create_future()
        self._waiting[document_id].append(future)
        if not self._will_send and len(self._round_trips) < _ROUND_TRIPS_AT_ONCE:
            self._will_send = True
            loop.call_soon(self._send)
        return future

    def _send(self) -> None:
        self._will_send = False
        batch = {document_id: self._waiting.pop(document_id) for document_id in list(self._waiting)[:BATCH_LIMIT]}
        if batch:
            task = asyncio.create_task(self._fetch(batch))
            self._round_trips.add(task)
            task.add_done_callback(self._returned)

    def _returned(self, task: asyncio.Task[None]) -> None:
        self._round_trips.discard(task)
        if self._waiting and not self._will_send:
            self._send()

    async def _fetch(self, batch: dict[str, list[asyncio.Future[StoredDocument | None]]]) -> None:
        try:
            found = await self._find_all(list(batch))
        except Exception as error:  # handed on to everyone who waits for it
            for future in (future for futures in batch.values() for future in futures if not future.done()):
                future.set_exception(error)
            return
        for document_id, futures in batch.items():
            for future in futures:
                if not future.done():
                    future.set_result(found.get(document_id))

    async def _find_all(self, ids: list[str]) -> dict[str, StoredDocument]:
        with pymongo.timeout(_PATIENCE_SECONDS):
            if len(ids) == 1:
                document = await self._collection.find_one({"_id": ids[0]})
                return {} if document is None else {ids[0]: document}
            documents = await self._collection.find({"_id": {"$in": ids}}).to_list(None)
        return {document["_id"]: document for document in documents}
