"""Use cases of the points context: what staff charge, and the steps of a payment that takes points or gives them back.

A step locks in one order: first the payment's saga, then the member's account. Two that are for the same payment and
both find no saga are told apart by its primary key: the slower one is begun again, and then sees what the other did.
"""

from dataclasses import replace

from command.points.model import PaymentSaga, PointsAccount, SagaState
from command.points.storage import PointsAccounts, PointsSagas
from command.unit_of_work import UnitOfWork
from runtime.clock import now


async def charge_points(uow: UnitOfWork, member_id: str, *, points: int, reason: str) -> PointsAccount:
    """Top up a member's account, opening it if need be. Raises `StaleVersion`, `TooManyPoints`.

    The member need not be one of ours: an outside identity provider may know them.
    """
    account = uow.as_expected(await uow.repository(PointsAccounts).locked(member_id))
    account.charge(points, reason, at=now())
    return account


async def use_points(uow: UnitOfWork, *, payment_id: str, order_id: str, member_id: str, points: int) -> None:
    """Take a payment's points, or tell that there are not enough; nothing where the payment is settled already."""
    sagas = uow.repository(PointsSagas)
    if await sagas.locked(payment_id) is not None:
        return
    account = await uow.repository(PointsAccounts).locked(member_id)
    taken = account.use(points, order_id=order_id, payment_id=payment_id, at=now())
    state = SagaState.USED if taken else SagaState.REJECTED
    saga = PaymentSaga(payment_id=payment_id, order_id=order_id, member_id=member_id, points=points, state=state)
    sagas.open(saga)


async def give_back_points(
    uow: UnitOfWork, *, payment_id: str, order_id: str, failure_code: str | None = None, reason: str | None = None
) -> None:
    """Give back what a payment holds; of one that holds nothing yet, remember that it never shall."""
    sagas = uow.repository(PointsSagas)
    saga = await sagas.locked(payment_id)
    if saga is None:
        never = SagaState.ROLLED_BACK
        sagas.open(PaymentSaga(payment_id=payment_id, order_id=order_id, member_id=None, points=0, state=never))
    elif saga.state is SagaState.USED:
        # As they were taken: what the event says of member and points is another context's word.
        assert saga.member_id is not None
        account = await uow.repository(PointsAccounts).locked(saga.member_id)
        account.give_back(
            saga.points,
            order_id=saga.order_id,
            payment_id=payment_id,
            failure_code=failure_code,
            reason=reason,
            at=now(),
        )
        sagas.change(replace(saga, state=SagaState.RETURNED))
