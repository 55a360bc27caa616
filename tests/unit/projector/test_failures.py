"""The failure policy, row by row of its table."""

import asyncpg
import pytest
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    DocumentTooLarge,
    ExecutionTimeout,
    OperationFailure,
    ServerSelectionTimeoutError,
    WriteError,
)

from events.members import MemberPasswordChanged
from projector.failures import (
    FailurePolicy,
    FoldFailed,
    GuardFailed,
    Narrowing,
    Park,
    Retry,
    StandBy,
    is_refusal,
)
from tests.unit.views.given import an_envelope

EVENT = an_envelope(MemberPasswordChanged(), "member", "m-1", position=7)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (AutoReconnect("connection closed"), "mongodb"),
        (ServerSelectionTimeoutError("no primary"), "mongodb"),
        (OperationFailure("WriteConflict", 112), "mongodb"),
        (ExecutionTimeout("too slow"), "mongodb"),
        (BulkWriteError({"writeErrors": []}), "mongodb"),
        (ConnectionRefusedError(), "postgres"),
        (TimeoutError(), "postgres"),
        (asyncpg.CannotConnectNowError("starting up"), "postgres"),
        (asyncpg.AdminShutdownError("terminating connection"), "postgres"),
        (asyncpg.InterfaceError("connection is closed"), "postgres"),
        (asyncpg.InternalClientError("another operation is in progress"), "postgres"),
        (FoldFailed(EVENT, ValueError()), "fold"),
    ],
)
def test_a_store_that_is_away_is_waited_for_without_end(error: Exception, reason: str) -> None:
    policy = FailurePolicy(park_after_attempts=3)

    for _ in range(1_000):
        decision = policy.batch_failed(error)
        assert isinstance(decision, Retry)
        assert decision.reason == reason
        assert 0.05 <= decision.after_seconds <= 2


def test_the_wait_grows_and_begins_anew_after_a_success() -> None:
    policy = FailurePolicy(park_after_attempts=3)
    for _ in range(20):
        policy.batch_failed(AutoReconnect())
    assert max(waited(policy) for _ in range(50)) > 0.5

    policy.succeeded()

    assert waited(policy) <= 0.1


def waited(policy: FailurePolicy) -> float:
    decision = policy.batch_failed(AutoReconnect())
    assert isinstance(decision, Retry)
    return decision.after_seconds


def test_another_owner_is_no_failure_to_be_retried() -> None:
    assert isinstance(FailurePolicy(3).batch_failed(GuardFailed()), StandBy)


def test_a_bug_is_raised_and_not_waited_for() -> None:
    with pytest.raises(ZeroDivisionError):
        FailurePolicy(3).batch_failed(ZeroDivisionError())


def test_an_event_is_parked_at_its_third_failure_and_never_given_up_before() -> None:
    policy = FailurePolicy(park_after_attempts=3)

    decisions = [policy.event_failed(EVENT) for _ in range(3)]

    assert decisions == [Retry(0, "fold"), Retry(0, "fold"), Park(3)]


def test_attempts_are_counted_for_each_event() -> None:
    policy, other = FailurePolicy(park_after_attempts=2), an_envelope(MemberPasswordChanged(), position=8)

    assert [policy.event_failed(event) for event in (EVENT, other, EVENT, other)] == [
        Retry(0, "fold"),
        Retry(0, "fold"),
        Park(2),
        Park(2),
    ]


def test_a_failed_fold_names_the_event_and_keeps_the_reason() -> None:
    reason = ValueError("no such stock")

    failed = FoldFailed(EVENT, reason)

    assert str(failed) == "MemberPasswordChanged at position 7 cannot be folded"
    assert failed.__cause__ is reason


@pytest.mark.parametrize(
    "error",
    [
        DocumentTooLarge("17 MB"),
        OverflowError("MongoDB can only handle up to 8-byte ints"),
        WriteError("no number", 14),
        BulkWriteError({"writeErrors": [{"code": 2}, {"code": 10334}]}),
    ],
)
def test_what_will_never_be_written_is_told_from_an_outage(error: Exception) -> None:
    assert is_refusal(error)
    decision = FailurePolicy(park_after_attempts=3).batch_failed(error)
    assert isinstance(decision, Retry)
    assert decision.reason == "refused"


@pytest.mark.parametrize(
    "error",
    [
        BulkWriteError({"writeErrors": []}),
        BulkWriteError({"writeErrors": [{"code": 2}, {"code": 112}]}),
        BulkWriteError({"writeErrors": [{"code": 2}], "errorLabels": ["TransientTransactionError"]}),
        OperationFailure("WriteConflict", 112),
        AutoReconnect("connection closed"),
        ValueError("a bug"),
    ],
)
def test_what_another_attempt_can_write_is_no_refusal(error: Exception) -> None:
    assert not is_refusal(error)


@pytest.mark.parametrize("bad", [1, 700, 2_000])
def test_the_refused_event_of_a_batch_is_found_in_a_few_steps(bad: int) -> None:
    narrowing, done, steps = Narrowing(), 0, 0
    while done < 2_000:
        steps += 1
        last = min(2_000, done + (narrowing.most or 2_000))
        if done < bad <= last and bad not in narrowing.refused:
            narrowing.failed(last - done, last, DocumentTooLarge("17 MB"))
        else:
            done = last
            narrowing.written(done)

    assert steps < 100
    assert (narrowing.most, narrowing.refused) == (None, {})
