"""Which documents the audit looks at: half by the log, which finds what is missing; half by the view, which finds what
is there and should not be."""

import random
from collections.abc import Iterable, Sequence
from typing import Any

from events.envelope import Envelope
from eventstore import EventLog
from projector.feed import decoded
from runtime.mongo import Database
from views.kit import AdditiveView, Calendar, Projection, View


async def sampled(
    database: Database, event_log: EventLog, view: View, instance: str, calendar: Calendar, *, position: int, size: int
) -> set[Any]:
    """Keys of about so many documents: of events at random positions up to this one, and of random documents."""
    types = sorted(event_type.__name__ for event_type in view.event_types)
    keys: set[Any] = set()
    for _ in range((size + 1) // 2 if position else 0):
        after = random.randrange(position)  # noqa: S311  (a sample, no secret)
        for row in await event_log.of_types(types, after, position, 1):
            keys |= _one_of(list(keys_of(view, decoded(row), calendar)))
    if size // 2:
        found = database[instance].aggregate([{"$sample": {"size": size // 2}}, {"$project": {"_id": 1}}])
        keys |= {document["_id"] async for document in found}
    return keys


def has_own_documents(view: View) -> bool:
    """Whether each document is made by the events of one aggregate, whose id it has."""
    return isinstance(view, Projection) and all(keys is None for keys, _ in view.folds.values())


def keys_of(view: View, envelope: Envelope, calendar: Calendar) -> Iterable[str]:
    """The documents that an event touches, as far as they can be told."""
    try:
        if isinstance(view, AdditiveView):
            contribution = view.contributions[type(envelope.event)]
            buckets = [bucket for bucket, _ in contribution(envelope.event, envelope, calendar)]
            return [key for bucket in buckets for key in view.roll_up(bucket)]
        assert isinstance(view, Projection)
        keys, _ = view.folds[type(envelope.event)]
        return [envelope.aggregate_id] if keys is None else list(keys(envelope.event))
    except Exception:  # a dead letter; it is the folder that says so
        return []


def _one_of(keys: Sequence[str]) -> set[str]:
    # One: an order's statistics are dozens of documents, and would be all of the sample.
    return {random.choice(keys)} if keys else set()  # noqa: S311  (a sample, no secret)
