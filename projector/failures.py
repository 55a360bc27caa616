"""The failure policy: what went wrong becomes a value, here and nowhere else; the loop only obeys.

| what goes wrong                                        | decision                                             |
|--------------------------------------------------------|------------------------------------------------------|
| a store is away, a primary steps down, a write conflict | `Retry`, for ever, with backoff and jitter          |
| the guard on the checkpoint fails                      | `StandBy`: somebody else owns the projection         |
| a fold raises, a payload cannot be decoded             | `Retry` a few times, then `Park` the aggregate       |
"""

import random
from dataclasses import dataclass

import msgspec
from pymongo.errors import PyMongoError

from events.envelope import Envelope
from runtime.postgres import DRIVER_ERRORS


class GuardFailed(Exception):
    """Another projector owns the projection: its lease, or its mark on the checkpoint, says so."""


class FoldFailed(Exception):
    """An event cannot be folded, and it is worth another attempt."""

    def __init__(self, envelope: Envelope, error: Exception) -> None:
        super().__init__(f"{envelope.event_type} at position {envelope.position} cannot be folded")
        self.envelope = envelope
        self.__cause__ = error


@dataclass(frozen=True, slots=True)
class Retry:
    """Begin the batch again after so long."""

    after_seconds: float
    reason: str


@dataclass(frozen=True, slots=True)
class Park:
    """Write the event to the dead letters, and every later one of its aggregate."""

    attempts: int


@dataclass(frozen=True, slots=True)
class StandBy:
    """Write nothing for so long, then look whether the other projector still works."""

    for_seconds: float


_SHORTEST, _LONGEST = 0.05, 2.0
# How often a standby asks for the lease: with the lease's three seconds well within five after a crash.
_STAND_BY_SECONDS = 0.5


class FailurePolicy:
    """One projection's memory of what has failed, and what to do about it."""

    def __init__(self, park_after_attempts: int) -> None:
        self._park_after_attempts = park_after_attempts
        self._attempts: dict[int, int] = {}
        self._in_a_row = 0

    def batch_failed(self, error: BaseException) -> Retry | StandBy:
        """A batch was not written. Raises the error again where it is none of those: a bug should be seen."""
        if isinstance(error, GuardFailed):
            return StandBy(_STAND_BY_SECONDS)
        if isinstance(error, FoldFailed):
            return Retry(self._backoff(), "fold")
        if isinstance(error, PyMongoError):
            return Retry(self._backoff(), "mongodb")
        if isinstance(error, DRIVER_ERRORS):
            return Retry(self._backoff(), "postgres")
        raise error

    def event_failed(self, envelope: Envelope) -> Retry | Park:
        """A fold raised. The same code on the same event mostly fails again; the attempts are for the rest."""
        attempts = self._attempts.get(envelope.position, 0) + 1
        self._attempts[envelope.position] = attempts
        if attempts >= self._park_after_attempts:
            return Park(attempts)
        return Retry(0, "fold")

    def succeeded(self) -> None:
        """A batch was written; the next failure is a first one."""
        self._in_a_row = 0
        self._attempts.clear()

    def _backoff(self) -> float:
        self._in_a_row += 1
        longest = min(_LONGEST, _SHORTEST * 2 ** min(self._in_a_row, 10))
        return random.uniform(_SHORTEST, longest)  # noqa: S311  (spreads retries, guards nothing)


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """An event that a projection could not apply, or that waits behind one of its aggregate."""

    envelope: Envelope
    error: str
    traceback: str
    attempts: int
    state: str
    documents: tuple[str, ...] = ()
    """Keys of the view's documents that lack this event: they are marked as parked."""
