"""Member profile: who somebody is, and what they have bought."""

from datetime import timedelta

from events.members import (
    EmailVerificationRequested,
    MemberEmailVerified,
    MemberPasswordChanged,
    MemberRegistered,
    MemberRenamed,
)
from tests.builders import a_line
from tests.unit.views.given import (
    MOMENT,
    STAMP,
    a_canceled_order,
    a_paid_order,
    a_placed_order,
    given,
    happened,
)
from views.member_profile import LastOrder, view

REGISTERED = MemberRegistered(email="ann@example.org", name="Ann Other")
ANN = {"email": "ann@example.org", "name": "Ann Other", "version": 1, "registered_at": STAMP}
ORDERED = {"order_count": 1, "currency": "EUR", "last_order": LastOrder("o-1", STAMP, 200)}


def test_a_registered_member_has_bought_nothing_yet() -> None:
    given(view, REGISTERED).then("m-1", **ANN)


def test_a_changed_password_shows_in_the_version_alone() -> None:
    given(view, REGISTERED, MemberPasswordChanged()).then("m-1", **ANN | {"version": 2})


def test_an_order_counts_when_it_is_placed_and_its_value_when_it_is_paid() -> None:
    given(view, REGISTERED, a_placed_order()).then("m-1", **ANN | ORDERED)
    given(view, REGISTERED, a_placed_order(), a_paid_order()).then("m-1", **ANN | ORDERED | {"lifetime_value": 200})


def test_the_discount_is_no_value_and_points_are() -> None:
    line = a_line(discount=30)

    given(view, a_placed_order(line, discount_amount=30), a_paid_order(line, points=50)).then(
        "m-1", name="Ann", **ORDERED | {"lifetime_value": 170}
    )


def test_a_buyer_whom_an_outside_provider_knows_has_a_profile_too() -> None:
    given(view, a_placed_order()).then("m-1", name="Ann", **ORDERED)


def test_the_name_given_at_registration_wins_over_the_one_on_an_order() -> None:
    given(view, REGISTERED, a_placed_order()).then("m-1", **ANN | ORDERED)
    given(view, a_placed_order(), REGISTERED).then("m-1", **ANN | ORDERED)


def test_canceling_takes_back_the_value_of_a_paid_order_alone() -> None:
    given(view, a_placed_order(), a_paid_order(), a_canceled_order(was_paid=True)).then("m-1", name="Ann", **ORDERED)
    given(view, a_placed_order(), a_canceled_order(was_paid=False)).then("m-1", name="Ann", **ORDERED)


def test_an_import_that_brings_an_older_order_last_does_not_change_which_was_last() -> None:
    older = happened(a_placed_order(a_line(quantity=9)), "o-0", at=MOMENT - timedelta(days=400))

    given(view, a_placed_order(), older).then("m-1", name="Ann", **ORDERED | {"order_count": 2})


def test_of_two_orders_of_one_moment_the_last_is_the_same_whichever_came_first() -> None:
    first, second = happened(a_placed_order(), "o-1"), happened(a_placed_order(), "o-2")

    assert given(view, first, second).documents == given(view, second, first).documents


def test_members_do_not_touch_each_other() -> None:
    bobs = happened(a_placed_order(member_id="m-2"), "o-2")

    after = given(view, a_placed_order(), bobs)

    after.then("m-1", name="Ann", **ORDERED)
    after.then("m-2", name="Ann", **ORDERED | {"last_order": LastOrder("o-2", STAMP, 200)})


def test_a_verified_address_shows() -> None:
    verified = MemberEmailVerified(email="ann@example.org")

    given(view, REGISTERED, EmailVerificationRequested(email="ann@example.org")).then("m-1", **ANN | {"version": 2})
    given(view, REGISTERED, verified).then("m-1", **ANN | {"version": 2, "email_verified": True})


def test_a_renamed_member_has_the_new_name_whatever_they_order_afterwards() -> None:
    after = given(view, REGISTERED, MemberRenamed(name="Ann Archer"), a_placed_order())

    after.then("m-1", **ANN | ORDERED | {"version": 2, "name": "Ann Archer"})
