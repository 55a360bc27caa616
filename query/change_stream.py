"""A change stream over some collections of a database, a batch of changes at a time.

It is made of the two commands below instead of the driver's ``watch``, which walks its whole way once per change: while
the projector works that is several times a request's own cost, over and over. It never resumes by itself either.
Whoever follows it reads everything anew after an interruption, so that no change can have been missed.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from runtime.mongo import ReadDatabase

Change = dict[str, Any]

_LONGEST_SILENCE_SECONDS = 1.0
"""The server answers an idle stream this often: every answer says that nothing happened until then."""
_PATIENCE_SECONDS = 5.0


async def batches_of_changes(
    database: ReadDatabase, collections: Sequence[str], *, ids_only: bool = False
) -> AsyncGenerator[list[Change], None]:
    """What changes from now on; empty batches while nothing does, the first of them as soon as the stream is open.

    ``ids_only``: that a document changed, not how.
    Raises what the driver raises, and `TimeoutError` when the server does not answer.
    """
    pipeline: list[dict[str, Any]] = [{"$changeStream": {}}, {"$match": {"ns.coll": {"$in": list(collections)}}}]
    if ids_only:
        pipeline.append({"$project": {"operationType": 1, "ns": 1, "documentKey": 1}})
    # A cursor belongs to the session that opened it.
    async with database.client.start_session() as session:

        async def ask(command: dict[str, Any]) -> dict[str, Any]:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                # A command does not take the database's codec options by itself: times would lack their zone.
                answer = await database.command(command, session=session, codec_options=database.codec_options)
            cursor: dict[str, Any] = answer["cursor"]
            return cursor

        opened = await ask({"aggregate": 1, "pipeline": pipeline, "cursor": {}})
        yield opened["firstBatch"]
        cursor_id = opened["id"]
        while cursor_id:
            following = await ask(
                {
                    "getMore": cursor_id,
                    "collection": "$cmd.aggregate",
                    "maxTimeMS": int(_LONGEST_SILENCE_SECONDS * 1000),
                }
            )
            cursor_id = following["id"]
            yield following["nextBatch"]
