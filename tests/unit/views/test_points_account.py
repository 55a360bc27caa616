"""Points account: how many points there are, and where they came from and went."""

from events.points import PointsCharged, PointsRejected, PointsReturned, PointsUsed
from tests.unit.views.given import STAMP, given, happened
from views.points_account import MOST_ENTRIES, Entry, view

CHARGED = PointsCharged(points=500, reason="welcome", balance=500)
USED = PointsUsed(order_id="o-1", payment_id="pay-1", points=200, balance=300)
RETURNED = PointsReturned(
    order_id="o-1", payment_id="pay-1", points=200, balance=500, failure_code="card-declined", reason="No money."
)
CHARGE = Entry(kind="charged", points=500, balance=500, reason="welcome", at=STAMP)
USE = Entry(kind="used", points=-200, balance=300, order_id="o-1", payment_id="pay-1", at=STAMP)
RETURN = Entry(
    kind="returned", points=200, balance=500, order_id="o-1", payment_id="pay-1", reason="No money.", at=STAMP
)


def test_a_charge_is_an_entry() -> None:
    given(view, CHARGED).then("p-1", balance=500, version=1, charged=500, entries=(CHARGE,), updated_at=STAMP)


def test_what_was_used_and_came_back_are_entries_the_newest_first() -> None:
    given(view, CHARGED, USED).then(
        "p-1", balance=300, version=2, charged=500, used=200, entries=(USE, CHARGE), updated_at=STAMP
    )
    given(view, CHARGED, USED, RETURNED).then(
        "p-1",
        balance=500,
        version=3,
        charged=500,
        used=200,
        returned=200,
        entries=(RETURN, USE, CHARGE),
        updated_at=STAMP,
    )


def test_a_rejection_shows_in_the_version_alone() -> None:
    rejected = PointsRejected(order_id="o-2", payment_id="pay-2", points=900, balance=500)

    given(view, CHARGED, rejected).then("p-1", balance=500, version=2, charged=500, entries=(CHARGE,), updated_at=STAMP)
    given(view, PointsRejected(order_id="o-2", payment_id="pay-2", points=9, balance=0)).then(
        "p-1", version=1, updated_at=STAMP
    )


def test_the_oldest_entries_leave_and_still_count() -> None:
    charges = [PointsCharged(points=1, reason=f"{n}", balance=n) for n in range(1, MOST_ENTRIES + 3)]

    account = given(view, *charges).documents["p-1"]

    assert [entry.reason for entry in account.entries] == [f"{n}" for n in range(MOST_ENTRIES + 2, 2, -1)]
    assert (account.balance, account.charged) == (MOST_ENTRIES + 2, MOST_ENTRIES + 2)


def test_members_do_not_touch_each_other() -> None:
    after = given(view, CHARGED, happened(PointsCharged(points=3, reason="hello", balance=3), "ben"))

    after.then("p-1", balance=500, version=1, charged=500, entries=(CHARGE,), updated_at=STAMP)
    hello = Entry(kind="charged", points=3, balance=3, reason="hello", at=STAMP)
    after.then("ben", balance=3, version=1, charged=3, entries=(hello,), updated_at=STAMP)
