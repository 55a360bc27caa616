"""The failure policy: what went wrong becomes a value, here and nowhere else; the loop only obeys.

| what goes wrong                                        | decision                                             |
|--------------------------------------------------------|------------------------------------------------------|
| a store is away, a primary steps down, a write conflict | `Retry`, for ever, with backoff and jitter          |
| the guard on the checkpoint fails                      | `StandBy`: somebody else owns the projection         |
| a fold raises, a payload cannot be decoded             | `Retry` a few times, then `Park` the aggregate       |
| MongoDB refuses a document for what it is              | `Retry` with half the events, down to the one        |
| a broker that events are published to is away          | `Retry`, for ever, likewise                          |
"""

import random
from dataclasses import dataclass

import msgspec
from bson.errors import InvalidDocument
from pymongo.errors import BulkWriteError, OperationFailure, PyMongoError

from events.envelope import Envelope
from eventstore import ArchiveUnavailable
from projector.publishing.outlet import BrokerAway
from runtime.errors import ReadsideError
from runtime.postgres import DRIVER_ERRORS


class GuardFailed(Exception):
    """Another projector owns the projection: its lease, or its mark on the checkpoint, says so."""


class CutOff(Exception):
    """This process cannot reach the events; another projector may be able to."""


class FoldFailed(Exception):
    """An event cannot be folded, and it is worth another attempt."""

    def __init__(self, envelope: Envelope, error: Exception) -> None:
        super().__init__(f"{envelope.event_type} at position {envelope.position} cannot be folded")
        self.envelope = envelope
        self.__cause__ = error


_REFUSALS = frozenset(
    {
        2,  # BadValue: among others, an increment past 64 bits
        9,  # FailedToParse
        14,  # TypeMismatch: an increment of something that is no number
        52,  # DollarPrefixedFieldName
        121,  # DocumentValidationFailure
        10334,  # BSONObjectTooLarge
        11000,  # DuplicateKey, of an index of the view's own
        17419,  # the document after the update is too large
        17420,
    }
)


def is_refusal(error: BaseException) -> bool:
    """Whether MongoDB, or its driver, will never write this: a document of 17 MB, a number of 65 bits."""
    if isinstance(error, OperationFailure) and error.has_error_label("TransientTransactionError"):
        return False
    if isinstance(error, BulkWriteError):
        codes = {failed["code"] for failed in error.details.get("writeErrors", ())}
        return bool(codes) and codes <= _REFUSALS
    if isinstance(error, OperationFailure):
        return error.code in _REFUSALS
    return isinstance(error, InvalidDocument | OverflowError | UnicodeError)


class Narrowing:
    """Finds the event whose effect MongoDB refuses: half as many events each time, until it is alone; then more again.

    A refusal names a document at best, never the event; and the rest of a batch of thousands is not to be written one
    by one for the sake of one.
    """

    def __init__(self) -> None:
        self.most: int | None = None
        self.until = 0
        self.refused: dict[int, Exception] = {}
        """Positions of events that were refused alone, and why. To a fold they fail from now on."""

    def failed(self, events: int, position: int, error: Exception) -> None:
        """A batch of so many events, up to this position, was refused."""
        self.until = max(self.until, position)
        self.most = max(1, events // 2)
        if events == 1:
            self.refused[position] = error

    def written(self, position: int) -> None:
        """Everything up to this position is durable, or parked."""
        if self.most is None:
            return
        self.most *= 2
        if position >= self.until:
            self.most, self.until = None, 0
            self.refused.clear()


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


# A store that is back is to be noticed within two seconds.
_SHORTEST, _LONGEST = 0.05, 1.0
# How often a standby asks for the lease: with the lease's three seconds well within five after a crash.
_STAND_BY_SECONDS = 0.5


def told_of(error: BaseException) -> str:
    """What operators are told: our own errors are sentences for them; a driver's may hold anything."""
    return str(error) if isinstance(error, ReadsideError) else type(error).__name__


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
        if is_refusal(error):
            return Retry(self._backoff(), "refused")
        if isinstance(error, PyMongoError):
            return Retry(self._backoff(), "mongodb")
        if isinstance(error, ArchiveUnavailable):
            return Retry(self._backoff(), "archive")
        if isinstance(error, BrokerAway):
            return Retry(self._backoff(), "broker")
        if isinstance(error, (CutOff, *DRIVER_ERRORS)):
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
    sequence: str | None = None
    """In a reaction: the key of the events that wait for each other. In a view that is the aggregate."""
    documents: tuple[str, ...] = ()
    """Keys of the view's documents that lack this event: they are marked as parked."""
