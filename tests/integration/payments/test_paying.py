"""Paying by every kind of card, and canceling what was paid: over real HTTP, with the order's own reaction."""

import pytest

from command.aggregate import Aggregate
from command.ordering.model import PaymentStatus
from command.ordering.storage import Orders
from command.unit_of_work import UnitOfWork
from events.ordering import RECORDED, OrderCanceled, PaymentRequested
from events.payments import PaymentCaptured, PaymentFailed
from events.points import PointsUsed
from runtime.clock import now
from tests.integration.payments.reacting import AMOUNT, World


@pytest.mark.parametrize(
    "card_token", [None, "tok_visa", "tok_twice", "tok_lost", "tok_fail_2", "tok_slow_0", "tok_refund_fail"]
)
async def test_a_card_that_pays_in_the_end_is_charged_once(world: World, card_token: str | None) -> None:
    order_id = await world.order()
    payment_id = await world.pay(order_id, card_token)

    await world.reacting.run()

    [charge] = await world.charges(payment_id)
    assert (charge["amount"], charge["currency"], charge["status"]) == (AMOUNT, "EUR", "captured")
    assert await world.reacting.told(payment_id) == ["PaymentCaptured"]
    assert await world.payment_status(order_id) is PaymentStatus.APPROVED


async def test_a_card_that_is_declined_is_not_charged_and_the_order_can_be_paid_with_another(world: World) -> None:
    order_id = await world.order()
    declined = await world.pay(order_id, "tok_declined")
    await world.reacting.run()
    assert await world.payment_status(order_id) is PaymentStatus.DECLINED

    paid = await world.pay(order_id, "tok_visa")
    await world.reacting.run()

    assert await world.payment_status(order_id) is PaymentStatus.APPROVED
    assert [await world.charged(one) for one in (declined, paid)] == [[], ["captured"]]
    [failed] = [one.event for one in await world.reacting.events() if isinstance(one.event, PaymentFailed)]
    assert (failed.code, failed.reason, failed.is_uncertain) == ("card-declined", "The card was declined.", False)


@pytest.mark.parametrize("card_token", ["tok_fail", "tok_slow_2"])
async def test_without_an_answer_the_payment_fails_the_order_is_payable_and_what_may_be_is_voided(
    world: World, card_token: str
) -> None:
    order_id = await world.order()
    payment_id = await world.pay(order_id, card_token)

    await world.reacting.run()

    assert await world.reacting.told(payment_id) == ["PaymentFailed", "PaymentVoided"]
    assert await world.payment_status(order_id) is PaymentStatus.DECLINED
    assert not any(world.reacting.letters.values())
    again = await world.pay(order_id)
    await world.reacting.run()
    assert await world.payment_status(order_id) is PaymentStatus.APPROVED
    assert await world.charged(again) == ["captured"]


async def test_what_a_slow_gateway_books_after_it_was_given_up_is_refused(world: World) -> None:
    payment_id = await world.pay(await world.order(), "tok_slow_2")
    await world.reacting.run()

    # Under the key of the slow charge, and behind it: when this is answered, that one has been decided.
    slow = {"payment_id": payment_id, "amount": AMOUNT, "currency": "EUR", "card_token": "tok_slow_2"}
    answer = await world.client.post("/charges", json=slow, headers={"Idempotency-Key": "another"}, timeout=10)

    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/payment-voided")
    assert await world.charges(payment_id) == []


async def test_with_points_the_card_is_asked_for_the_rest_once_they_are_taken(world: World) -> None:
    order_id = await world.order()
    payment_id = await world.pay(order_id, points=50)
    await world.reacting.run()
    assert await world.charges(payment_id) == []

    await world.points_used(order_id, payment_id, 50)
    await world.reacting.run()

    assert [charge["amount"] for charge in await world.charges(payment_id)] == [AMOUNT - 50]
    assert await world.payment_status(order_id) is PaymentStatus.APPROVED


async def test_what_points_pay_wholly_is_captured_and_refunded_without_the_gateway(world: World) -> None:
    order_id = await world.order()
    payment_id = await world.pay(order_id, points=AMOUNT)
    await world.points_used(order_id, payment_id, AMOUNT)
    await world.reacting.run()
    await world.shop.call_off(order_id)
    await world.reacting.run()

    assert await world.reacting.told(payment_id) == ["PaymentCaptured", "PaymentRefunded"]
    assert await world.charges() == []


async def test_a_payment_that_was_settled_elsewhere_is_nobodys_business(world: World) -> None:
    order_id = await world.order()
    await world.shop.command(lambda uow: _recorded(uow, order_id))
    await world.shop.call_off(order_id)

    await world.reacting.run()

    assert await world.charges() == []
    assert {one.aggregate_type for one in await world.reacting.events()}.isdisjoint({"payment"})


async def test_canceling_a_paid_order_sends_the_money_back_once(world: World) -> None:
    order_id = await world.order()
    payment_id = await world.pay(order_id)
    await world.reacting.run()
    await world.shop.call_off(order_id)

    await world.reacting.run()
    await world.reacting.again("refund", OrderCanceled)

    assert await world.reacting.told(payment_id) == ["PaymentCaptured", "PaymentRefunded"]
    assert await world.charged(payment_id) == ["refunded"]
    assert await world.payment_status(order_id) is PaymentStatus.REFUNDED


async def test_a_refund_that_is_tried_again_in_time_tells_nobody_of_it(world: World) -> None:
    order_id = await world.order()
    payment_id = await world.pay(order_id, "tok_refund_fail_2")
    await world.reacting.run()
    await world.shop.call_off(order_id)
    await world.reacting.run()

    assert await world.reacting.told(payment_id) == ["PaymentCaptured", "PaymentRefunded"]


async def test_a_refund_that_fails_for_good_is_a_dead_letter_whose_retry_completes_it(world: World) -> None:
    order_id = await world.order()
    payment_id = await world.pay(order_id, "tok_refund_fail_4")
    await world.reacting.run()
    await world.shop.call_off(order_id)
    await world.reacting.run()
    assert await world.payment_status(order_id) is PaymentStatus.REFUND_FAILED
    [letter] = world.reacting.letters["refund"]
    assert isinstance(letter.event, OrderCanceled)

    await world.reacting.retry("refund")
    await world.reacting.run()

    assert await world.reacting.told(payment_id) == ["PaymentCaptured", "PaymentRefundFailed", "PaymentRefunded"]
    assert await world.payment_status(order_id) is PaymentStatus.REFUNDED
    assert await world.charged(payment_id) == ["refunded"]
    assert world.reacting.letters["refund"] == []


async def test_a_refund_that_fails_again_and_again_says_so_once(world: World) -> None:
    order_id = await world.order()
    payment_id = await world.pay(order_id, "tok_refund_fail")
    await world.reacting.run()
    await world.shop.call_off(order_id)
    await world.reacting.run()

    await world.reacting.retry("refund")
    await world.reacting.run()

    assert await world.reacting.told(payment_id) == ["PaymentCaptured", "PaymentRefundFailed"]
    assert len(world.reacting.letters["refund"]) == 1


async def test_every_event_once_more_changes_nothing(world: World) -> None:
    for card_token in ("tok_visa", "tok_declined", "tok_fail", "tok_lost"):
        order_id = await world.order()
        await world.pay(order_id, card_token)
        await world.reacting.run()
        if await world.payment_status(order_id) is PaymentStatus.APPROVED:
            await world.shop.call_off(order_id)
            await world.reacting.run()
    before = (await world.reacting.events(), await world.charges())

    await world.reacting.again("payment_capture", PaymentRequested)
    await world.reacting.again("payment_capture", PointsUsed)
    await world.reacting.again("refund", OrderCanceled)
    await world.reacting.again("refund", PaymentCaptured)
    await world.reacting.again("payment_void", PaymentFailed)

    assert (await world.reacting.events(), await world.charges()) == before


async def test_the_card_is_forgotten_once_it_will_not_be_asked_again(world: World) -> None:
    order_id = await world.order()
    payment_id = await world.pay(order_id, "tok_visa", points=50)
    await world.reacting.run("payment_capture")
    assert (await world.saga(payment_id))["card_token"] == "tok_visa"

    await world.points_used(order_id, payment_id, 50)
    await world.reacting.run("payment_capture")

    assert (await world.saga(payment_id))["card_token"] is None


async def _recorded(uow: UnitOfWork, order_id: str) -> Aggregate:
    order = await uow.repository(Orders).get(order_id)
    order.request_payment("pay-recorded", method=RECORDED, at=now())
    order.approve_payment(at=now())
    return order
