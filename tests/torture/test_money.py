"""The judgement of the money can fail: each way of losing or doubling it is seen."""

import pytest

from tests.torture.ledger import Json
from tests.torture.money import judged_money
from tests.torture.test_oracle import event

Said = tuple[str, Json]
ASKED: Said = ("PaymentRequested", {"payment_id": "p"})
CAPTURED: Said = ("PaymentCaptured", {})
PAID: Said = ("OrderPaid", {"payment_id": "p"})
DECLINED: Said = ("PaymentDeclined", {"payment_id": "p"})
FAILED: Said = ("PaymentFailed", {})
UNCERTAIN: Said = ("PaymentFailed", {"is_uncertain": True})
VOIDED: Said = ("PaymentVoided", {})
CANCELED: Said = ("OrderCanceled", {"payment_id": "p"})
EXPIRED: Said = ("OrderCanceled", {"payment_id": None})
REFUNDED: Said = ("PaymentRefunded", {})
COMPLETED: Said = ("RefundCompleted", {"payment_id": "p"})


def judged(*said: Said) -> list[str]:
    """The judgement of a log of these, each of its payment or its order."""
    log = []
    for position, (name, data) in enumerate(said, 1):
        of_payment = name in ("PaymentCaptured", "PaymentFailed", "PaymentVoided", "PaymentRefunded")
        log.append(event(position, position, name, data, ("payment", "p") if of_payment else ("order", "o-1")))
    return judged_money(log)


@pytest.mark.parametrize(
    "said",
    [
        (ASKED, CAPTURED, PAID),
        (ASKED, FAILED, DECLINED),
        (ASKED, UNCERTAIN, DECLINED, VOIDED),
        (ASKED, CAPTURED, PAID, CANCELED, REFUNDED, COMPLETED),
        (ASKED, DECLINED, EXPIRED, CAPTURED, REFUNDED),
        (ASKED, DECLINED, EXPIRED),
    ],
)
def test_what_adds_up_is_right(said: tuple[Said, ...]) -> None:
    assert judged(*said) == []


@pytest.mark.parametrize(
    "said",
    [
        (ASKED,),
        (ASKED, CAPTURED),
        (ASKED, PAID),
        (ASKED, CAPTURED, PAID, PAID),
        (ASKED, CAPTURED, CAPTURED, PAID),
        (ASKED, CAPTURED, DECLINED),
        (ASKED, CAPTURED, PAID, REFUNDED),
        (ASKED, CAPTURED, PAID, CANCELED),
        (ASKED, CAPTURED, PAID, CANCELED, REFUNDED),
        (ASKED, CAPTURED, PAID, CANCELED, COMPLETED),
        (ASKED, CAPTURED, PAID, CANCELED, REFUNDED, REFUNDED, COMPLETED),
        (ASKED, CAPTURED, PAID, CANCELED, REFUNDED, COMPLETED, COMPLETED),
        (ASKED, UNCERTAIN, DECLINED),
        (ASKED, FAILED, DECLINED, VOIDED),
    ],
)
def test_what_does_not_is_seen(said: tuple[Said, ...]) -> None:
    assert judged(*said) != []
