"""The published language: what happened in the shop, in the past tense, never edited, only upcast.

One module per bounded context holds its events; `events.envelope` holds what every event is wrapped in. Nothing here
does I/O, and nothing here knows how an event is stored or who reads it.
"""

from events import catalog, members, ordering  # noqa: F401  (importing a context registers its events)
from events.envelope import DomainEvent, Envelope, decode, event_types

__all__ = ["DomainEvent", "Envelope", "decode", "event_types"]
