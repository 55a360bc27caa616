"""What the projector makes of coupons that are issued, used, given back and used again: counted anew by the oracle."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from command.bootstrap import neighbours
from command.coupons import service
from command.coupons.model import Terms
from command.ordering import service as ordering
from command.ordering.model import Order
from command.ordering.service import Neighbours
from command.unit_of_work import UnitOfWork
from runtime.settings import Settings
from runtime.tokens import Caller
from tests.builders import SHIPPING_INFO
from tests.integration.projecting import ReadSide, Shop, a_read_side, a_shop, logged_facts, projecting, until
from tests.oracle.views import differences, expected_views

TERMS = Terms(
    name="Ten percent off",
    kind="percent",
    value=10,
    currency="EUR",
    minimum_amount=0,
    valid_from=datetime(2020, 1, 1, tzinfo=UTC),
    valid_until=datetime(2999, 1, 1, tzinfo=UTC),
)


@pytest.fixture
async def shop(postgres_url: str) -> AsyncIterator[Shop]:
    async with a_shop(postgres_url) as shop:
        yield shop


@pytest.fixture
async def read_side(settings: Settings) -> AsyncIterator[ReadSide]:
    async with a_read_side(settings) as read_side:
        yield read_side


async def claim(shop: Shop, code: str, member_id: str) -> None:
    """One goes to this member."""
    await shop.command(lambda uow: service.claim_coupon(uow, code, member_id=member_id))


async def place(shop: Shop, code: str, member_id: str) -> str:
    """An order of theirs with a coupon."""

    async def work(uow: UnitOfWork) -> Order:
        return await ordering.place_order(
            uow,
            neighbours()[Neighbours],
            caller=Caller(member_id, frozenset({"customer"})),
            currency="EUR",
            lines=[("p-0", 2)],
            shipping_info=SHIPPING_INFO,
            coupon_code=code,
        )

    return (await shop.command(work)).id


async def is_sequenced(shop: Shop) -> bool:
    """Whether the log holds all that happened: what handlers record is not among what `shop` knows of."""
    async with shop.engine.connect() as connection:
        return not await connection.scalar(text("SELECT EXISTS (SELECT FROM outbox)"))


async def some_lives(shop: Shop) -> None:
    """Coupons in every state there is."""
    for code in ("TEN", "SPRING"):
        await shop.command(
            lambda uow, code=code: service.define_coupon(  # type: ignore[misc]
                uow, code, terms=TERMS, total_limit=9, is_claimable=True
            )
        )
    for member_id in ("m-1", "m-2", "m-3", "m-4"):
        await claim(shop, "TEN", member_id)
    paid, canceled, again = [await place(shop, "TEN", member_id) for member_id in ("m-1", "m-2", "m-3")]
    await shop.pay(paid)
    await shop.cancel(canceled)
    await shop.pay(again, card_token="tok_declined")
    await shop.pay(again)
    await claim(shop, "SPRING", "m-1")
    declined = await place(shop, "SPRING", "m-1")
    await shop.pay(declined, card_token="tok_declined")


async def test_views_of_coupons_are_what_their_events_make_of_them(
    shop: Shop, read_side: ReadSide, settings: Settings
) -> None:
    async with projecting(settings):
        await some_lives(shop)
        await until(lambda: is_sequenced(shop), "the outbox to be empty")
        facts = await logged_facts(shop.url)
        await read_side.reached(len(facts))
        found = await read_side.views()

    assert differences(found, expected_views(facts)) == []
    assert sorted((one["issued_count"], one["used_count"]) for one in found["coupon_catalog"].values()) == [
        (1, 0),
        (4, 2),
    ]
    assert [one["state"] for _, one in sorted(found["member_coupons"].items())] == [
        "USED",
        "ISSUED",
        "USED",
        "ISSUED",
        "ISSUED",
    ]
