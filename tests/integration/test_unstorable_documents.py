"""A document that MongoDB cannot hold: the event that makes it so is parked, and nothing else stops."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from events.ordering import OrderPaid
from runtime.postgres import make_engine
from runtime.settings import Settings
from tests.integration.poison import Log, Views, projecting
from views import order_detail


@pytest.fixture
async def log(postgres_url: str) -> AsyncIterator[Log]:
    """A log with a member and two products."""
    engine = make_engine(postgres_url, "test log", pool_size=2)
    log = Log(engine)
    await log.open()
    yield log
    await engine.dispose()


@pytest.fixture
async def views(settings: Settings) -> AsyncIterator[Views]:
    """The views of this test."""
    views = Views(settings)
    yield views
    views.database.client.close()


@pytest.mark.parametrize("grown", [{"total_amount": 2**63}, {"currency": "x" * 2**24}], ids=["number", "document"])
async def test_the_event_after_which_a_document_cannot_be_held_waits_and_everything_else_goes_on(
    log: Log, views: Views, settings: Settings, monkeypatch: pytest.MonkeyPatch, grown: dict[str, Any]
) -> None:
    too_large, fine = await log.place(), await log.place()
    keys, pay = order_detail.view.folds[OrderPaid]

    def grow(document: Any, event: Any, envelope: Any) -> Any:
        paid = pay(document, event, envelope)
        return msgspec.structs.replace(paid, **grown) if envelope.aggregate_id == too_large else paid

    folds: dict[Any, Any] = order_detail.view.folds
    monkeypatch.setitem(folds, OrderPaid, (keys, grow))
    for order_id in (too_large, fine):
        await log.pay(order_id)
        await log.cancel(order_id)

    async with projecting(settings):
        await views.reached(log.count)
        asked = await views.letters.ask_retry(None, "ann")
        outcomes = [(await views.letters.outcome(one, asked[one], 60.0))["state"] for one in asked]
        assert outcomes == ["failed", "waiting"]
        later = await log.place()
        await views.reached(log.count)

    assert await views.states("order_detail") == [("OrderPaid", "failed"), ("OrderCanceled", "waiting")]
    documents = (await views.documents())["order_detail"]
    assert {key: one["status"] for key, one in documents.items()} == {
        too_large: "PAYMENT_WAITING",
        fine: "CANCELED",
        later: "PAYMENT_WAITING",
    }
    assert (documents[too_large]["version"], documents[too_large]["_parked"]) == (2, True)
