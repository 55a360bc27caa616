"""How a dead letter is made: of a failure, of what waits behind one, and as the document that is stored."""

import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from events.envelope import Envelope
from projector.dead_letters import letter_id
from projector.failures import DeadLetter
from projector.feed import payload_of

WAITING = "waits behind an earlier event of the same {}"
_LONGEST_ERROR, _LONGEST_TRACEBACK, _LONGEST_PAYLOAD = 2_000, 50_000, 1_000_000


def failed(
    envelope: Envelope,
    error: BaseException,
    attempts: int,
    *,
    sequence: str | None = None,
    documents: Sequence[str] = (),
) -> DeadLetter:
    """Of an event that was tried so often, and last failed with this error."""
    return DeadLetter(
        envelope=envelope,
        # Bounded: a letter that no document can hold would be a letter that cannot be written.
        error=f"{type(error).__name__}: {error}"[:_LONGEST_ERROR],
        traceback="".join(traceback.format_exception(error))[-_LONGEST_TRACEBACK:],
        attempts=attempts,
        state="failed",
        sequence=sequence,
        documents=tuple(documents),
    )


def waiting(envelope: Envelope, *, sequence: str | None = None, documents: Sequence[str] = ()) -> DeadLetter:
    """Of an event that waits behind a failed one of its aggregate, or of its sequence where it has one."""
    return DeadLetter(
        envelope=envelope,
        error=WAITING.format("aggregate" if sequence is None else "sequence"),
        traceback="",
        attempts=0,
        state="waiting",
        sequence=sequence,
        documents=tuple(documents),
    )


def letter_document(instance: str, projection: str, letter: DeadLetter) -> dict[str, Any]:
    """As it is stored."""
    envelope, at = letter.envelope, datetime.now(UTC)
    of_sequence = {} if letter.sequence is None else {"sequence": letter.sequence}
    return {
        "_id": letter_id(instance, envelope.position),
        "instance": instance,
        "projection": projection,
        "aggregate_type": envelope.aggregate_type,
        "aggregate_id": envelope.aggregate_id,
        **of_sequence,
        "position": envelope.position,
        "event_type": envelope.event_type,
        "error": _writable(letter.error),
        "traceback": _writable(letter.traceback),
        "attempts": letter.attempts,
        "first_failed_at": at,
        "last_failed_at": at,
        "state": letter.state,
        "documents": list(letter.documents),
        # As text: a payload may hold names and numbers that BSON has no room for. To be looked at; a retry reads
        # the log.
        "payload": payload_of(envelope)[:_LONGEST_PAYLOAD],
    }


def _writable(text: str) -> str:
    # An error may quote half a character, which no store takes: its letter would then never be written.
    return text.encode(errors="replace").decode()
