"""Use cases of the payments context: the steps of the checkout saga that are taken here, each a transaction.

Between two of them the gateway is asked. So each may be taken again, late, or beside another one; each locks the saga's
record, looks whether it was rolled back, then looks at the payment, and does only what is still to be done.
"""

from command.payments.gateway import Charge, Charged, Declined, Refund
from command.payments.model import Asked, Payment, Saga
from command.payments.storage import Payments, Sagas
from command.unit_of_work import UnitOfWork
from runtime.clock import now

UNAVAILABLE = "gateway-unavailable"
ROLLED_BACK = "rolled-back"


async def note(uow: UnitOfWork, asked: Asked) -> None:
    """An order asks for a payment."""
    await uow.repository(Sagas).note(asked)


async def begin_capture(uow: UnitOfWork, payment_id: str) -> Charge | None:
    """What to charge now; none where there is nothing to do. Counts the question before it is asked.

    Whoever asked and died before the answer was recorded comes back to this. Where the payment was rolled back
    meanwhile, it must not ask again, and must not leave it at that either: the gateway may have charged.
    """
    saga, payment = await _locked(uow, payment_id)
    if payment is None or saga is None or saga.asked is None or not payment.is_open:
        return None
    if saga.is_rolled_back:
        if saga.unanswered:
            payment.fail(ROLLED_BACK, "The payment was called off.", is_uncertain=True, at=now())
        return None
    if payment.amount == 0:
        payment.capture(None, at=now())
        await uow.repository(Sagas).forget_card(payment_id)
        return None
    await uow.repository(Sagas).count_unanswered(payment_id, 1)
    return Charge(payment_id, payment.amount, payment.currency, saga.asked.card_token)


async def forget_question(uow: UnitOfWork, payment_id: str) -> None:
    """The question that `begin_capture` counted has certainly not reached the gateway."""
    await uow.repository(Sagas).count_unanswered(payment_id, -1)


async def settle(uow: UnitOfWork, payment_id: str, outcome: Charged | Declined) -> None:
    """The gateway has answered. Also what was rolled back meanwhile is recorded: `PaymentCaptured` is then refunded."""
    _, payment = await _locked(uow, payment_id)
    if payment is None:
        return
    match outcome:
        case Charged(charge_id):
            payment.capture(charge_id, at=now())
        case Declined(code, reason):
            payment.fail(code, reason, at=now())
    await uow.repository(Sagas).forget_card(payment_id)


async def give_up(uow: UnitOfWork, payment_id: str) -> bool:
    """No answer in as many attempts as there are: the order must be payable again. Whether the payment is known."""
    saga, payment = await _locked(uow, payment_id)
    if saga is None or payment is None:
        return saga is not None
    if saga.unanswered or not saga.is_rolled_back:
        payment.fail(UNAVAILABLE, "The card gateway does not answer.", is_uncertain=saga.unanswered > 0, at=now())
    await uow.repository(Sagas).forget_card(payment_id)
    return True


async def roll_back(uow: UnitOfWork, payment_id: str, order_id: str) -> Refund | None:
    """The order has no use for this payment any more. What to ask the gateway for, as for `begin_refund`."""
    await uow.repository(Sagas).roll_back(payment_id, order_id, at=now())
    return await begin_refund(uow, payment_id)


async def begin_refund(uow: UnitOfWork, payment_id: str) -> Refund | None:
    """What to send back now; none where it was not rolled back, or there is nothing to do: what needed no charge is
    refunded here and now."""
    saga, payment = await _locked(uow, payment_id)
    if saga is None or not saga.is_rolled_back or payment is None or not payment.is_refundable:
        return None
    if payment.charge_id is None:
        payment.refund(at=now())
        return None
    return Refund(payment_id, payment.charge_id, payment.amount)


async def complete_refund(uow: UnitOfWork, payment_id: str) -> None:
    """The gateway has sent the money back."""
    _, payment = await _locked(uow, payment_id)
    if payment is not None:
        payment.refund(at=now())


async def fail_refund(uow: UnitOfWork, payment_id: str, reason: str) -> None:
    """It could not be sent back in as many attempts as there are."""
    saga, payment = await _locked(uow, payment_id)
    if payment is not None and saga is not None and saga.is_rolled_back:
        payment.fail_refund(reason, at=now())


async def is_to_be_voided(uow: UnitOfWork, payment_id: str) -> bool:
    """Whether the gateway may hold a charge that this shop does not count on."""
    _, payment = await _locked(uow, payment_id)
    return payment is not None and payment.may_be_charged


async def complete_void(uow: UnitOfWork, payment_id: str) -> None:
    """The gateway has undone what there was."""
    _, payment = await _locked(uow, payment_id)
    if payment is not None:
        payment.void(at=now())


async def _locked(uow: UnitOfWork, payment_id: str) -> tuple[Saga | None, Payment | None]:
    saga = await uow.repository(Sagas).locked(payment_id)
    if saga is None or saga.asked is None:
        return saga, None
    return saga, await uow.repository(Payments).of(saga.asked)
