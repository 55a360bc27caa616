"""The payment, by the events that it records, in every state."""

from collections.abc import Callable
from typing import Any

import pytest

from command.payments.model import Asked, Payment, PaymentStatus
from events.envelope import DomainEvent
from events.payments import PaymentCaptured, PaymentFailed, PaymentRefunded, PaymentRefundFailed, PaymentVoided
from tests.builders import LATER

ASKED = Asked(
    payment_id="pay-1", order_id="o-1", member_id="m-1", amount=150, currency="EUR", points=50, card_token="tok_visa"
)
FACTS: dict[str, Any] = {"order_id": "o-1", "member_id": "m-1", "amount": 150, "currency": "EUR", "points": 50}

type_of_step = Callable[[Payment], None]


def capture(payment: Payment) -> None:
    payment.capture("ch-1", at=LATER)


def fail(payment: Payment) -> None:
    payment.fail("card-declined", "The card was declined.", at=LATER)


def lose_sight(payment: Payment) -> None:
    payment.fail("gateway-unavailable", "No answer.", is_uncertain=True, at=LATER)


def void(payment: Payment) -> None:
    payment.void(at=LATER)


def refund(payment: Payment) -> None:
    payment.refund(at=LATER)


def fail_refund(payment: Payment) -> None:
    payment.fail_refund("No answer.", at=LATER)


CAPTURED = PaymentCaptured(**FACTS, charge_id="ch-1")
DECLINED = PaymentFailed(**FACTS, code="card-declined", reason="The card was declined.")
UNCERTAIN = PaymentFailed(**FACTS, code="gateway-unavailable", reason="No answer.", is_uncertain=True)
VOIDED = PaymentVoided(order_id="o-1", amount=150, currency="EUR")
REFUNDED = PaymentRefunded(**FACTS)
NOT_REFUNDED = PaymentRefundFailed(**FACTS, reason="No answer.")

STATES: dict[str, tuple[tuple[type_of_step, ...], PaymentStatus]] = {
    "open": ((), PaymentStatus.OPEN),
    "captured": ((capture,), PaymentStatus.CAPTURED),
    "failed": ((fail,), PaymentStatus.FAILED),
    "uncertain": ((lose_sight,), PaymentStatus.FAILED),
    "voided": ((lose_sight, void), PaymentStatus.FAILED),
    "refunded": ((capture, refund), PaymentStatus.REFUNDED),
    "not refunded": ((capture, fail_refund), PaymentStatus.REFUND_FAILED),
    "refunded after all": ((capture, fail_refund, refund), PaymentStatus.REFUNDED),
}
STEPS: dict[type_of_step, DomainEvent] = {
    capture: CAPTURED,
    fail: DECLINED,
    lose_sight: UNCERTAIN,
    void: VOIDED,
    refund: REFUNDED,
    fail_refund: NOT_REFUNDED,
}
TAKEN = {
    ("open", capture),
    ("open", fail),
    ("open", lose_sight),
    ("captured", refund),
    ("captured", fail_refund),
    ("not refunded", refund),
    ("uncertain", void),
}


def payment_in(state: str) -> Payment:
    payment = Payment.open(ASKED)
    for step in STATES[state][0]:
        step(payment)
    return payment


@pytest.mark.parametrize("state", STATES)
def test_every_state_is_reached_by_one_event_for_each_step(state: str) -> None:
    steps, status = STATES[state]
    payment = payment_in(state)

    assert payment.status is status
    assert [pending.event for pending in payment.recorded] == [STEPS[step] for step in steps]
    assert payment.version == len(steps)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("state", STATES)
def test_a_step_is_taken_once_and_out_of_turn_changes_nothing(state: str, step: type_of_step) -> None:
    payment = payment_in(state)
    before = (payment.status, payment.version, payment.charge_id, payment.is_uncertain)

    step(payment)

    if (state, step) in TAKEN:
        assert payment.recorded[-1].event == STEPS[step]
        assert payment.version == before[1] + 1
    else:
        assert (payment.status, payment.version, payment.charge_id, payment.is_uncertain) == before


def test_only_what_was_captured_can_go_back() -> None:
    assert {state for state in STATES if payment_in(state).is_refundable} == {"captured", "not refunded"}


def test_only_a_failure_that_is_uncertain_and_not_voided_may_hide_a_charge() -> None:
    assert {state for state in STATES if payment_in(state).may_be_charged} == {"uncertain"}
