"""The root of every aggregate: identity, version, and the events it has recorded and not yet given away."""

from dataclasses import dataclass, field
from datetime import datetime

from events.envelope import DomainEvent
from eventstore import PendingEvent


@dataclass(kw_only=True, eq=False)
class Aggregate:
    """State that changes only through its own methods, each of which records what happened.

    ``version`` counts the events since the first, one each, so that anyone can check that none is missing.
    """

    id: str
    version: int = 0
    _recorded: list[PendingEvent] = field(default_factory=list, repr=False)

    @property
    def stored_version(self) -> int:
        """The version that the database holds: 0 for an aggregate that was never saved."""
        return self.version - len(self._recorded)

    def record(self, event: DomainEvent, at: datetime) -> None:
        """Note that this happened; it counts once the unit of work commits."""
        self.version += 1
        self._recorded.append(PendingEvent(self.id, self.version, at, event))

    @property
    def recorded(self) -> tuple[PendingEvent, ...]:
        """Events since the aggregate was loaded."""
        return tuple(self._recorded)
