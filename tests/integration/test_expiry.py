"""Orders that nobody paid for in time: the scheduled job calls them off, one by one, and leaves all others alone."""

from datetime import timedelta

import pytest

from command.ordering import jobs
from command.ordering.jobs import expire_unpaid_orders
from command.ordering.model import Order
from command.ordering.storage import Orders
from command.steps import Steps
from command.unit_of_work import Transactions
from events.reaction import Ports
from runtime.clock import now
from runtime.settings import Settings
from tests.builders import ORDERER, SHIPPING_INFO, a_line
from tests.integration.commanding import Shop, shop

__all__ = ["shop"]

DEADLINE_SECONDS = 3600
IN_TIME, TOO_LATE = timedelta(minutes=59), timedelta(minutes=61)


def _ports(shop: Shop, settings: Settings, *, deadline_seconds: int = DEADLINE_SECONDS) -> Ports:
    transactions: Transactions = shop.write_side.transactions
    told = settings.model_copy(update={"payment_deadline_seconds": deadline_seconds})
    return Ports({Settings: told, Steps: Steps(transactions)})


async def _place(shop: Shop, order_id: str, *, ago: timedelta, paying: bool = False) -> None:
    order = Order.place(
        order_id,
        orderer=ORDERER,
        currency="EUR",
        lines=[a_line("p-1", quantity=1)],
        shipping_info=SHIPPING_INFO,
        at=now() - ago,
    )
    if paying:
        order.request_payment(f"pay-{order_id}", method="card", at=now() - ago)

    async with shop.transaction() as uow:
        uow.repository(Orders).add(order)
        await uow.commit()


async def _status(shop: Shop, order_id: str) -> tuple[str, str | None]:
    (row,) = await shop.rows("SELECT status, payment_status FROM orders WHERE order_id = $1", order_id)
    return row["status"], row["payment_status"]


async def test_what_nobody_paid_in_time_is_called_off_and_its_stock_is_free(shop: Shop, settings: Settings) -> None:
    await shop.product(stock=10)
    await _place(shop, "late", ago=TOO_LATE)
    await _place(shop, "late and paying", ago=TOO_LATE, paying=True)
    await _place(shop, "in time", ago=IN_TIME)
    await _place(shop, "paid", ago=TOO_LATE, paying=True)
    await shop.settled("paid")

    await expire_unpaid_orders(_ports(shop, settings))

    found = {name: await _status(shop, name) for name in ("late", "late and paying", "in time", "paid")}
    assert found == {
        "late": ("CANCELED", None),
        "late and paying": ("CANCELED", "DECLINED"),
        "in time": ("PAYMENT_WAITING", None),
        "paid": ("PREPARING", "APPROVED"),
    }
    assert await shop.available() == 8
    assert [event for _, event in await shop.events_of("late and paying")] == [
        "OrderPlaced",
        "PaymentRequested",
        "PaymentDeclined",
        "OrderCanceled",
    ]


async def test_a_second_run_finds_nothing_left_to_do(shop: Shop, settings: Settings) -> None:
    await shop.product()
    await _place(shop, "late", ago=TOO_LATE)
    await expire_unpaid_orders(_ports(shop, settings))
    before = await shop.events_of("late")

    await expire_unpaid_orders(_ports(shop, settings))

    assert await shop.events_of("late") == before


async def test_without_a_deadline_an_order_may_wait_for_ever(shop: Shop, settings: Settings) -> None:
    await shop.product()
    await _place(shop, "late", ago=timedelta(days=5_000))

    await expire_unpaid_orders(_ports(shop, settings, deadline_seconds=0))

    assert await _status(shop, "late") == ("PAYMENT_WAITING", None)


async def test_an_order_that_was_paid_since_it_was_found_is_left_alone(
    shop: Shop, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.product()
    await _place(shop, "late", ago=TOO_LATE, paying=True)
    found = Orders.unpaid

    async def then_paid(self: Orders, *asked: object) -> list[str]:
        late: list[str] = await found(self, *asked)  # type: ignore[arg-type]
        await shop.settled("late")
        return late

    monkeypatch.setattr(Orders, "unpaid", then_paid)

    await expire_unpaid_orders(_ports(shop, settings))

    assert await _status(shop, "late") == ("PREPARING", "APPROVED")


async def test_more_than_one_lap_of_the_job_takes_the_rest(
    shop: Shop, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "AT_ONCE", 2)
    await shop.product()
    for number in range(3):
        await _place(shop, f"late-{number}", ago=TOO_LATE + timedelta(minutes=number))

    await expire_unpaid_orders(_ports(shop, settings))
    after_one = [await _status(shop, f"late-{number}") for number in range(3)]
    await expire_unpaid_orders(_ports(shop, settings))

    assert after_one == [("PAYMENT_WAITING", None), ("CANCELED", None), ("CANCELED", None)]
    assert await _status(shop, "late-0") == ("CANCELED", None)
