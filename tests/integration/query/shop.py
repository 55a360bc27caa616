"""What the projector would have written, and a client that asks about it."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
import msgspec
from fastapi import FastAPI
from motor.motor_asyncio import AsyncIOMotorClientSession

from events.ordering import Address, Line, Orderer, Receiver, ShippingInfo
from query.follower import Follower
from runtime.consistency import ConsistencyTokens
from runtime.mongo import Database
from runtime.settings import Settings
from runtime.tokens import Tokens
from views import all_views
from views.coupon_catalog import CatalogCoupon
from views.member_coupons import MemberCoupon
from views.member_profile import MemberProfile
from views.order_detail import OrderDetail
from views.product_catalog import CatalogProduct

DEPLOYMENT = "deployment-of-the-tests"
PLACED_AT = "2026-03-02T09:00:00.000000Z"
INSTANCES = {name: f"{name}.v{view.version}" for name, view in all_views().items()}


@dataclass(frozen=True)
class Sale:
    """What one event adds to the statistics of an hour."""

    hour: str
    product_id: str
    category: str
    counters: Mapping[str, int]


class Shop:
    """Writes views, checkpoints and the registry."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def open(self, *, time_zone: str = "UTC") -> None:
        """Make all views, empty, at position 10, having seen every transaction before 100."""
        for name, view in all_views().items():
            for index in view.indexes:
                await self.database[INSTANCES[name]].create_index(list(index.fields), unique=index.unique)
            await self.advance(name, 10, "100:100:")
            await self.database.registry.update_one({"_id": name}, {"$set": {"active": INSTANCES[name]}}, upsert=True)
        await self.tell(10, time_zone=time_zone)

    async def advance(
        self,
        view: str,
        position: int,
        snapshot: str,
        *,
        instance: str | None = None,
        session: AsyncIOMotorClientSession | None = None,
        **more: Any,
    ) -> None:
        """Move a view's checkpoint."""
        checkpoint = {
            "view": view,
            "version": 1,
            "position": position,
            "snapshot": snapshot,
            "as_of": datetime(2026, 3, 2, 10, tzinfo=UTC),
            "updated_at": datetime.now(UTC),
            "parked_sequences": 0,
            "state": "active",
            **more,
        }
        await self.database.checkpoints.update_one(
            {"_id": instance or INSTANCES[view]}, {"$set": checkpoint}, upsert=True, session=session
        )

    async def tell(self, head: int, *, time_zone: str = "UTC", heartbeat_at: datetime | None = None) -> None:
        """The projector's heartbeat."""
        at = heartbeat_at or datetime.now(UTC)
        log = {
            "deployment_id": DEPLOYMENT,
            "currency": "EUR",
            "time_zone": time_zone,
            "head": head,
            "samples": [[head, at]],
            "heartbeat_at": at,
        }
        await self.database.registry.update_one({"_id": "$log"}, {"$set": log}, upsert=True)

    async def put(self, view: str, *documents: Any, **extra: Any) -> None:
        """Write documents of a view."""
        stored = [{**msgspec.to_builtins(document), **extra} for document in documents]
        if stored:
            await self.database[INSTANCES[view]].insert_many(stored)

    async def write(
        self, view: str, position: int, *documents: Any, instance: str | None = None, tells: bool = True, **extra: Any
    ) -> None:
        """The same as the projector does: in one transaction with the checkpoint, which comes first and names them.

        Every transaction before 10 times the position has been seen then.
        """
        collection = instance or INSTANCES[view]
        stored = [{**msgspec.to_builtins(document), **extra} for document in documents]
        snapshot = f"{position * 10}:{position * 10}:"
        touched = {"touched": [position, *(one["_id"] for one in stored)]} if tells else {}

        async def write(session: AsyncIOMotorClientSession) -> None:
            await self.advance(view, position, snapshot, instance=collection, session=session, **touched)
            for one in stored:
                await self.database[collection].replace_one({"_id": one["_id"]}, one, upsert=True, session=session)

        async with await self.database.client.start_session() as session:
            await session.with_transaction(write)

    async def sell(self, *sales: Sale) -> None:
        """Count sales into documents of every granularity and group, by plain addition."""
        documents: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for sale in sales:
            for name, period in (("hour", sale.hour), ("day", sale.hour[:10]), ("month", sale.hour[:7])):
                for group, key in (("none", ""), ("product", sale.product_id), ("category", sale.category)):
                    documents[f"{name}|{group}|{period}|{key}"].update(sale.counters)
        await self.database[INSTANCES["sales_statistics"]].insert_many(
            [{"_id": document_id, **counters} for document_id, counters in documents.items()]
        )


class Api:
    """A running query API and those who ask it."""

    def __init__(self, client: httpx.AsyncClient, app: FastAPI, settings: Settings) -> None:
        self.client = client
        self.app = app
        self._tokens = Tokens(settings)

    @property
    def follower(self) -> Follower:
        """The app's own."""
        follower: Follower = self.app.state.read_models.follower
        return follower

    async def get(
        self, path: str, caller: str | None = "staff", *, headers: Any = None, **query: Any
    ) -> httpx.Response:
        """Ask as ``staff``, ``operator``, a member by id, or nobody."""
        every: dict[str, Any] = dict(headers or {})
        if caller is not None:
            scope = caller if caller in ("staff", "operator") else "customer"
            every["Authorization"] = f"Bearer {self._tokens.issue(caller, [scope])}"
        return await self.client.get(path, params=query or None, headers=every)


def token(transaction_id: int) -> dict[str, str]:
    """The header of a command's own transaction."""
    return {"Consistency-Token": ConsistencyTokens(DEPLOYMENT).mint(transaction_id)}


def ids(answer: httpx.Response, name: str = "order_id") -> list[str]:
    """Of the items of a list."""
    assert answer.status_code == 200, answer.text
    return [item[name] for item in answer.json()["items"]]


def an_order(order_id: str = "o-1", member_id: str = "ann", **fields: Any) -> OrderDetail:
    """An order of five pieces at 100, placed at 9 o'clock."""
    lines = (Line("p-1", "Pen", "office", 100, 2, 200), Line("p-2", "Ink", "office", 100, 3, 300, 5))
    values: dict[str, Any] = {
        "version": 1,
        "currency": "EUR",
        "orderer": Orderer(member_id, "Ann"),
        "lines": lines,
        "total_amount": 500,
        "discount_amount": 5,
        "payment_amount": 495,
        "shipping_info": ShippingInfo(Receiver("Ann", "555"), Address("1", "Street 1", "")),
        "placed_at": PLACED_AT,
        "updated_at": PLACED_AT,
    }
    return OrderDetail(id=order_id, **{**values, **fields})


def a_product(product_id: str = "p-1", **fields: Any) -> CatalogProduct:
    """A pen."""
    values: dict[str, Any] = {
        "name": "Pen",
        "category": "office",
        "unit_price": 100,
        "currency": "EUR",
        "stock": 8,
        "version": 1,
        "registered_at": PLACED_AT,
        "updated_at": PLACED_AT,
    }
    return CatalogProduct(id=product_id, **{**values, **fields})


def a_member(member_id: str = "ann", **fields: Any) -> MemberProfile:
    """Ann, who has bought nothing yet."""
    values: dict[str, Any] = {"name": "Ann", "email": "ann@example.com", "version": 1, "registered_at": PLACED_AT}
    return MemberProfile(id=member_id, **{**values, **fields})


_TERMS: dict[str, Any] = {
    "name": "Ten percent off",
    "kind": "percent",
    "value": 10,
    "currency": "EUR",
    "minimum_amount": 0,
    "valid_from": PLACED_AT,
    "valid_until": "2027-01-01T00:00:00.000000Z",
    "version": 1,
}


def a_held_coupon(coupon_id: str = "i-1", member_id: str = "ann", **fields: Any) -> MemberCoupon:
    """One of Ann's, which she can use."""
    values = {**_TERMS, "coupon_code": "TEN", "issued_at": PLACED_AT, "updated_at": PLACED_AT}
    return MemberCoupon(id=coupon_id, member_id=member_id, **{**values, **fields})


def a_coupon(coupon_code: str = "TEN", **fields: Any) -> CatalogCoupon:
    """Ten percent off, of which nobody has taken one."""
    return CatalogCoupon(id=coupon_code, **{**_TERMS, "is_claimable": True, "defined_at": PLACED_AT, **fields})


def summed(sales: Iterable[Sale]) -> dict[str, int]:
    """Counters added up one by one."""
    names = (
        "placed_orders",
        "placed_amount",
        "paid_orders",
        "gross_sales",
        "units",
        "canceled_orders",
        "canceled_amount",
    )
    sums = dict.fromkeys(names, 0)
    for sale in sales:
        for name, amount in sale.counters.items():
            sums[name] += amount
    return {**sums, "net_sales": sums["gross_sales"] - sums["canceled_amount"]}
