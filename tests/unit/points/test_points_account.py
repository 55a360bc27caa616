"""The points account, by the events that it records."""

from typing import Any

import pytest

from command.points.model import LARGEST_BALANCE, PointsAccount, TooManyPoints
from events.envelope import DomainEvent
from events.points import PointsCharged, PointsRejected, PointsReturned, PointsUsed
from tests.builders import LATER

PAYMENT: dict[str, Any] = {"order_id": "o-1", "payment_id": "pay-1"}
FAILED: dict[str, Any] = {"failure_code": "card-declined", "reason": "No money."}
REFUNDED: dict[str, Any] = {"failure_code": None, "reason": None}


def an_account(balance: int) -> PointsAccount:
    """Loaded, at version 3."""
    return PointsAccount(id="ann", version=3, balance=balance)


def told(account: PointsAccount) -> list[DomainEvent]:
    """What happened to it since."""
    return [pending.event for pending in account.recorded]


def test_a_charge_tops_up() -> None:
    account = PointsAccount(id="ann")

    account.charge(500, "welcome", at=LATER)
    account.charge(20, "birthday", at=LATER)

    assert told(account) == [
        PointsCharged(points=500, reason="welcome", balance=500),
        PointsCharged(points=20, reason="birthday", balance=520),
    ]
    assert (account.version, account.balance) == (2, 520)


def test_no_charge_leads_beyond_what_an_account_may_hold() -> None:
    account = an_account(LARGEST_BALANCE - 1)

    account.charge(1, "the last", at=LATER)
    with pytest.raises(TooManyPoints):
        account.charge(1, "one more", at=LATER)

    assert (account.balance, len(account.recorded)) == (LARGEST_BALANCE, 1)


@pytest.mark.parametrize("points", [1, 99, 100])
def test_a_payment_takes_what_it_wants_as_far_as_there_is_so_much(points: int) -> None:
    account = an_account(100)

    assert account.use(points, **PAYMENT, at=LATER)

    assert told(account) == [PointsUsed(**PAYMENT, points=points, balance=100 - points)]
    assert account.balance == 100 - points


@pytest.mark.parametrize("balance", [0, 99])
def test_a_payment_that_wants_more_than_there_is_gets_nothing(balance: int) -> None:
    account = an_account(balance)

    assert not account.use(100, **PAYMENT, at=LATER)

    assert told(account) == [PointsRejected(**PAYMENT, points=100, balance=balance)]
    assert account.balance == balance


@pytest.mark.parametrize("why", [FAILED, REFUNDED], ids=["failed", "refunded"])
def test_what_was_taken_comes_back_with_the_reason_why(why: dict[str, Any]) -> None:
    account = an_account(40)

    account.give_back(60, **PAYMENT, **why, at=LATER)

    assert told(account) == [PointsReturned(**PAYMENT, points=60, balance=100, **why)]
    assert account.balance == 100


def test_what_comes_back_is_never_refused() -> None:
    account = an_account(LARGEST_BALANCE)

    account.give_back(60, **PAYMENT, **REFUNDED, at=LATER)

    assert account.balance == LARGEST_BALANCE + 60
