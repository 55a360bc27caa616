"""The indexes that a view declares, made for one of its instances.

Over documents that are there already, which is cheaper than with each of them: a rebuild loads first. Nothing may hang
on how long that takes, and nothing may wait for a member of the replica set that is away.
"""

from collections.abc import Iterable

import pymongo
from pymongo import IndexModel

from runtime.mongo import Database
from views.kit import Index, View

_LONGEST_SECONDS = 86_400.0


async def make_unique(database: Database, view: View, instance: str) -> None:
    """Those that refuse documents. To be there before the first of them: it is the write that has to be refused."""
    await _make(database, instance, (index for index in view.indexes if index.unique))


async def make_all(database: Database, view: View, instance: str) -> None:
    """Every one that is missing, and return when all of them can be used."""
    await _make(database, instance, view.indexes)


async def _make(database: Database, instance: str, indexes: Iterable[Index]) -> None:
    models = [IndexModel(list(index.fields), unique=index.unique) for index in indexes]
    if not models:
        return
    # The client gives up on an answer after 30 seconds, and millions of documents take longer. The server goes on all
    # the same, and would be asked again, and again.
    with pymongo.timeout(_LONGEST_SECONDS):
        # By default an index of a collection that is not empty waits for every member of the set, down or not.
        await database[instance].create_indexes(models, commitQuorum="majority")
