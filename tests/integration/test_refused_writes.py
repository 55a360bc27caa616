"""What MongoDB will never write is an event's failure, and no outage: its aggregate is parked, all else flows on."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from events.ordering import OrderPaid
from runtime.settings import Settings
from tests.integration.poison import Log, Views, distort, log, projecting, soundly_projected, views

__all__ = ["log", "views"]  # fixtures

PAID_ORDERS = 60


def _too_large(document: Any) -> Any:
    return msgspec.structs.replace(document, currency="x" * 17_000_000)


def _too_many_digits(document: Any) -> Any:
    return msgspec.structs.replace(document, total_amount=2**64)


def _overflowing(contributions: Any) -> Any:
    return [(bucket, {**increments, "units": 2**63 - 1}) for bucket, increments in contributions]


@pytest.mark.parametrize(
    ("view", "distorted"),
    [
        ("order_detail", _too_large),
        ("order_detail", _too_many_digits),
        ("sales_statistics", _overflowing),
    ],
)
async def test_what_mongodb_refuses_parks_its_aggregate_and_a_retry_after_the_repair_is_exact(
    log: Log, views: Views, settings: Settings, view: str, distorted: Callable[[Any], Any]
) -> None:
    orders = [await log.place("p-1") for _ in range(PAID_ORDERS)]
    for order_id in orders:
        await log.pay(order_id)
    bad = orders[PAID_ORDERS // 2]
    await log.cancel(bad)
    with pytest.MonkeyPatch.context() as distorting:
        distort(distorting, view, OrderPaid, distorted, bad)
        async with projecting(settings):
            await views.reached(log.count)
            assert await views.states(view) == [("OrderPaid", "failed"), ("OrderCanceled", "waiting")]
            assert await views.parked(view) == 1

            # As long as it is not repaired a retry is refused too; it fails again, and stops nothing.
            (still, *_) = await _retried(views)
            assert (still["state"], still["attempts"]) == ("failed", 4)
            await log.pay(await log.place("p-2"))
            await views.reached(log.count)
            assert await views.states(view) == [("OrderPaid", "failed"), ("OrderCanceled", "waiting")]

            distorting.undo()
            assert {one["state"] for one in await _retried(views)} == {"resolved"}
            assert await views.parked(view) == 0
    assert await views.documents() == await soundly_projected(settings, log)


async def _retried(views: Views) -> list[dict[str, Any]]:
    asked = await views.letters.ask_retry(None, "ann")
    return [await views.letters.outcome(one, request, 60) for one, request in asked.items()]
