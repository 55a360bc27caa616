"""A poisoned event for the demo, and its healing by the operations that everybody has.

The door: two events of a post that nobody wrote are put into the outbox, straight into the database. The first lacks
everything that a post has, so that the view `posts` cannot take it; the second, sound, has to wait behind it. After a
while the first is discarded with a reason, through the projector's port; the second is then taken, and leaves the mark
of a deleted post, which is never served. No real aggregate is touched, no other view or reaction takes such events.

The door is there for nobody who did not ask: it takes the database that `readside up` keeps in a data directory on this
machine, and either ``up --demo`` or ``readside demo --poison``.
"""

import asyncio
from collections.abc import Callable
from uuid import uuid4

import asyncpg

from events.envelope import aggregate_type_named
from events.posts import PostDeleted, PostWritten
from readside.demo_shop import Shop
from readside.demo_tally import Tally
from readside.run_file import Run
from runtime.errors import SettingsError
from runtime.postgres import connect

REASON = "poisoned by readside demo"
_LOOKS, _LOOK_SECONDS = 60, 0.5
_PUT = """
INSERT INTO outbox (event_id, event_type, schema_version, aggregate_type, aggregate_id, aggregate_version,
                    occurred_at, payload)
VALUES ($1, $2, $3, $4, $5, 1, now(), '{"poisoned": true}'), ($6, $7, $8, $4, $5, 2, now(), '{"deleted_by": "demo"}')
"""


def door_of(run: Run | None, *, asked: bool | None) -> str | None:
    """The URL of the database to poison, none where it is not to be. Raises `SettingsError` where it must not be.

    ``run`` is the living run of a data directory, if that is what is driven; ``asked``: ``--poison``, ``--no-poison``,
    or neither.
    """
    if asked is False or (asked is None and (run is None or not run.demo)):
        return None
    if run is None or "postgres" not in run.children:
        if asked is None:
            return None
        raise SettingsError("--poison: only for the database that `readside up` keeps in a data directory, no other")
    return run.postgres_url


async def put_poison(url: str) -> str:
    """Poison a post that nobody wrote; returns its id."""
    written, deleted, post_id = PostWritten.__name__, PostDeleted.__name__, f"demo-poison-{uuid4()}"
    connection = await connect(url, "demo poison")
    try:
        await connection.execute(
            _PUT,
            uuid4(),
            written,
            PostWritten.schema_version,
            aggregate_type_named(written),
            post_id,
            uuid4(),
            deleted,
            PostDeleted.schema_version,
        )
    finally:
        await connection.close()
    return post_id


async def heal(shop: Shop, post_id: str) -> None:
    """Discard what stands at the front, until nothing of it waits. Raises `TimeoutError`."""
    for _ in range(_LOOKS):
        letters = [one for one in await shop.letters(post_id) if one["state"] != "discarded"]
        if not letters:
            return
        if letters[0]["state"] == "failed":
            await shop.discard(letters[0]["id"], REASON)
        await asyncio.sleep(_LOOK_SECONDS)
    raise TimeoutError


async def poison_and_heal(
    shop: Shop, url: str, tally: Tally, say: Callable[[str], None], *, heal_after_seconds: float
) -> None:
    """Once: put it, see it parked, leave it so for a while, heal it. Healed too where this is canceled meanwhile."""
    try:
        post_id = await put_poison(url)
    except (OSError, asyncpg.PostgresError) as error:
        tally.failed(f"poison: {error}")
        return
    try:
        await _parked(shop, post_id)
        tally.counts["parked"] += 1
        say(f"parked: the view posts cannot take an event of {post_id}; everything else flows")
        await asyncio.sleep(heal_after_seconds)
    finally:
        await heal(shop, post_id)
        tally.counts["healed"] = tally.counts["parked"]
        say(f"healed: the event of {post_id} was discarded with a reason, what waited behind it was taken")


async def _parked(shop: Shop, post_id: str) -> None:
    for _ in range(_LOOKS):
        if await shop.letters(post_id):
            return
        await asyncio.sleep(_LOOK_SECONDS)
    raise TimeoutError
