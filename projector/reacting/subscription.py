"""Which events of the log a reaction takes, and in which sequence. Pure."""

from types import SimpleNamespace
from typing import Any

import msgspec

from events.envelope import Envelope
from events.reaction import Reaction
from projector.feed import Undecodable, payload_of


class Pending(msgspec.Struct, frozen=True):
    """An event that waits for its turn in its sequence. ``unfit``: why no handler can be given it."""

    envelope: Envelope
    sequence: str
    unfit: Exception | None = None

    @property
    def position(self) -> int:
        """Its place in the log."""
        return self.envelope.position


class Subscription:
    """What one reaction takes."""

    def __init__(self, reaction: Reaction) -> None:
        self._reaction = reaction
        self._types = {event_type.__name__: event_type for event_type in reaction.event_types}

    def takes(self, envelope: Envelope) -> bool:
        """Whether the reaction answers such events; also one whose payload cannot be decoded is one."""
        return envelope.event_type in self._types

    def pending(self, envelope: Envelope) -> Pending:
        """The event in its sequence. What cannot be told of a broken event makes it fail, and nothing else."""
        event = envelope.event
        if isinstance(event, Undecodable):
            return Pending(envelope, self._guessed(envelope), ValueError(event.reason))
        if not self.takes(envelope):  # a dead letter of an older release
            return Pending(envelope, envelope.aggregate_id, LookupError(f"{envelope.event_type} is answered no more"))
        try:
            return Pending(envelope, self._reaction.sequence_of(envelope))
        except Exception as error:
            return Pending(envelope, envelope.aggregate_id, error)

    def _guessed(self, envelope: Envelope) -> str:
        # It is to hold up what comes after it in its own sequence, if that can be told at all.
        key = self._reaction.answers[self._types[envelope.event_type]].key
        if key is None:
            return envelope.aggregate_id
        try:
            fields: dict[str, Any] = msgspec.json.decode(payload_of(envelope), type=dict[str, Any])
            return str(key(SimpleNamespace(**fields)))
        except Exception:
            return envelope.aggregate_id
