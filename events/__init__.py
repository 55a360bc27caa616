"""The published language: what happened in the shop, in the past tense, never edited, only upcast.

One module per bounded context holds its events; `events.envelope` holds what every event is wrapped in. Nothing here
does I/O, and nothing here knows how an event is stored or who reads it.
"""

import pkgutil
from importlib import import_module

from events.envelope import DomainEvent, Envelope, decode, event_types

# Importing a context registers its events: a new module is found by itself, and no list can lack it.
for _found in pkgutil.iter_modules(__path__):
    import_module(f"{__name__}.{_found.name}")

__all__ = ["DomainEvent", "Envelope", "decode", "event_types"]
