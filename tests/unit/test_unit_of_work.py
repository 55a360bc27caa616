"""The unit of work, over a connection that only remembers what was asked of it."""

from collections.abc import Sequence
from typing import Any, cast

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from command.aggregate import Aggregate
from command.ordering.model import Order
from command.unit_of_work import CausationTooDeepError, Handlers, NothingRecordedError, UnitOfWork
from events.ordering import OrderPlaced, PaymentRequested, ShippingInfoChanged
from eventstore import PendingEvent
from tests.builders import LATER, SHIPPING_INFO, an_order


class Answer:
    """What the outbox answers: the transaction's id, once for each event."""

    def scalars(self) -> "Answer":
        return self

    def all(self) -> list[str]:
        return ["4711"]


class RememberingConnection:
    """Remembers, in order, what happened to it."""

    def __init__(self) -> None:
        self.happened: list[Any] = []

    async def exec_driver_sql(self, _: str, values: tuple[Any, ...]) -> Answer:
        """The second column is of event types, the sixth of versions; of one event they are plain values."""
        types, versions = (one if isinstance(one, list) else [one] for one in (values[1], values[5]))
        self.happened.append(("append", types, versions))
        return Answer()

    async def commit(self) -> None:
        self.happened.append("commit")


class RememberingOrders:
    """A repository that saves into the connection's memory."""

    def __init__(self, connection: AsyncConnection) -> None:
        self.connection = cast(RememberingConnection, connection)
        self.orders: list[Order] = []

    def touched(self) -> Sequence[Aggregate]:
        return self.orders

    async def save(self) -> None:
        self.connection.happened.append(("save", [order.id for order in self.orders]))


def unit_of_work(handlers: Handlers) -> tuple[UnitOfWork, RememberingConnection]:
    connection = RememberingConnection()
    return UnitOfWork(cast(AsyncConnection, connection), handlers), connection


async def test_aggregates_are_written_before_their_events_and_then_all_is_committed() -> None:
    uow, connection = unit_of_work(Handlers())
    uow.repository(RememberingOrders).orders += [an_order("o-1"), an_order("o-2")]

    committed = await uow.commit()

    assert connection.happened == [
        ("save", ["o-1", "o-2"]),
        ("append", ["OrderPlaced", "OrderPlaced"], [1, 1]),
        "commit",
    ]
    assert committed.transaction_id == 4711


async def test_handlers_run_before_anything_is_written_and_in_the_order_of_their_registration() -> None:
    handlers = Handlers()
    uow, connection = unit_of_work(handlers)

    async def first(pending: PendingEvent, _: UnitOfWork) -> None:
        connection.happened.append(("first", pending.aggregate_id))

    async def second(pending: PendingEvent, _: UnitOfWork) -> None:
        connection.happened.append(("second", pending.aggregate_id))

    handlers.before_commit(OrderPlaced, first)
    handlers.before_commit(OrderPlaced, second)
    handlers.before_commit(PaymentRequested, first)
    uow.repository(RememberingOrders).orders += [an_order("o-1")]

    await uow.commit()

    assert connection.happened[:2] == [("first", "o-1"), ("second", "o-1")]
    assert [step if isinstance(step, str) else step[0] for step in connection.happened[2:]] == [
        "save",
        "append",
        "commit",
    ]


async def test_an_event_that_a_handler_causes_is_handled_and_appended_after_its_cause() -> None:
    handlers = Handlers()
    uow, connection = unit_of_work(handlers)
    seen: list[str] = []

    async def ask_for_payment(_: PendingEvent, uow: UnitOfWork) -> None:
        for order in uow.repository(RememberingOrders).orders:
            order.request_payment("pay-1", method="card", at=LATER)

    async def notice(pending: PendingEvent, _: UnitOfWork) -> None:
        seen.append(type(pending.event).__name__)

    handlers.before_commit(OrderPlaced, ask_for_payment)
    handlers.before_commit(PaymentRequested, notice)
    uow.repository(RememberingOrders).orders += [an_order("o-1")]

    await uow.commit()

    assert seen == ["PaymentRequested"]
    assert ("append", ["OrderPlaced", "PaymentRequested"], [1, 2]) in connection.happened


async def test_handlers_that_answer_each_other_for_ever_are_stopped() -> None:
    handlers = Handlers()
    uow, connection = unit_of_work(handlers)

    async def change_again(_: PendingEvent, uow: UnitOfWork) -> None:
        uow.repository(RememberingOrders).orders[0].change_shipping_info(SHIPPING_INFO, at=LATER)

    handlers.before_commit(OrderPlaced, change_again)
    handlers.before_commit(ShippingInfoChanged, change_again)
    uow.repository(RememberingOrders).orders += [an_order("o-1")]

    with pytest.raises(CausationTooDeepError):
        await uow.commit()
    assert connection.happened == []


async def test_a_handler_that_refuses_leaves_nothing_written() -> None:
    handlers = Handlers()
    uow, connection = unit_of_work(handlers)

    async def refuse(_: PendingEvent, __: UnitOfWork) -> None:
        raise PermissionError

    handlers.before_commit(OrderPlaced, refuse)
    uow.repository(RememberingOrders).orders += [an_order("o-1")]

    with pytest.raises(PermissionError):
        await uow.commit()
    assert connection.happened == []


async def test_a_command_that_records_nothing_is_told_to_be_a_bug_and_writes_nothing() -> None:
    uow, connection = unit_of_work(Handlers())
    uow.repository(RememberingOrders)

    with pytest.raises(NothingRecordedError):
        await uow.commit()

    assert connection.happened == []
