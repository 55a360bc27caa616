"""A command API over its ASGI application and a real Postgres, and a client that knows how to ask it."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import httpx
import pytest

from command.app import create_app
from command.bootstrap import before_commit_handlers
from command.edge import WriteSide
from command.unit_of_work import Handlers, Transactions, UnitOfWork
from eventstore import Doorbell
from runtime.postgres import make_engine
from runtime.settings import Settings
from runtime.tokens import Tokens
from tests.settling import settle

SHIPPING_INFO = {
    "receiver": {"name": "Ann", "phone": "555"},
    "address": {"zip_code": "12345", "address1": "1 Example Street", "address2": ""},
    "message": "ring twice",
}
PASSWORD = "correct horse"


class Shop:
    """A client that knows how to say who calls, and what a caller usually sends."""

    def __init__(self, client: httpx.AsyncClient, tokens: Tokens, url: str, write_side: WriteSide) -> None:
        self.client = client
        self.write_side = write_side
        self._tokens = tokens
        self._url = url

    def as_(self, subject: str, *scopes: str) -> dict[str, str]:
        """Headers of a caller with these scopes."""
        return {"Authorization": f"Bearer {self._tokens.issue(subject, scopes)}"}

    @property
    def ann(self) -> dict[str, str]:
        """A customer."""
        return self.as_("ann", "customer")

    @property
    def staff(self) -> dict[str, str]:
        """Somebody who runs the shop."""
        return self.as_("sam", "staff")

    async def post(self, path: str, body: Any = None, *, by: dict[str, str] | None = None) -> httpx.Response:
        """POST JSON; by Ann unless told otherwise."""
        return await self.client.post(path, json=body, headers=self.ann if by is None else by)

    async def product(self, product_id: str = "p-1", **fields: Any) -> httpx.Response:
        """Register a product, 10 pieces at 500 unless told otherwise."""
        body = {"product_id": product_id, "name": "Mug", "category": "cups", "unit_price": 500, "stock": 10} | fields
        return await self.post("/products", body, by=self.staff)

    async def order(self, *lines: tuple[str, int], by: dict[str, str] | None = None, **fields: Any) -> httpx.Response:
        """Place an order, of one p-1 unless told otherwise."""
        listed = [{"product_id": product_id, "quantity": quantity} for product_id, quantity in lines or (("p-1", 1),)]
        return await self.post("/orders", {"lines": listed, "shipping_info": SHIPPING_INFO} | fields, by=by)

    async def placed(self, *lines: tuple[str, int]) -> str:
        """The id of an order just placed by Ann."""
        answer = await self.order(*lines)
        assert answer.status_code == 201, answer.text
        order_id: str = answer.json()["order_id"]
        return order_id

    async def settled(self, order_id: str, *, declined: bool = False) -> None:
        """What the order waits for comes: its payment's answer, or its refund."""
        async with self.transaction() as uow:
            await settle(uow, order_id, declined=declined)
            await uow.commit()

    @asynccontextmanager
    async def transaction(self, handlers: Handlers | None = None) -> AsyncIterator[UnitOfWork]:
        """A unit of work of somebody else's, on the same database; with the shop's own handlers unless told."""
        engine = make_engine(self._url, "test", pool_size=1)
        try:
            # Its ring is for nobody: no daemon runs here.
            transactions = Transactions(engine, handlers or before_commit_handlers(), Doorbell(self._url))
            async with transactions.begin() as uow:
                yield uow
        finally:
            await engine.dispose()

    async def pay(self, order_id: str, *, declined: bool = False) -> httpx.Response:
        """Pay by card, and have the answer."""
        answer = await self.post(f"/orders/{order_id}/pay", {"method": "card", "card_token": "tok_visa"})
        assert answer.status_code == 202, answer.text
        await self.settled(order_id, declined=declined)
        return answer

    async def rows(self, query: str, *values: object) -> Sequence[Any]:
        """Straight from the database."""
        connection = await asyncpg.connect(self._url)
        try:
            found: Sequence[Any] = await connection.fetch(query, *values)
            return found
        finally:
            await connection.close()

    async def available(self, product_id: str = "p-1") -> int:
        """What is in stock."""
        (row,) = await self.rows("SELECT available FROM product_stock WHERE product_id = $1", product_id)
        available: int = row["available"]
        return available

    async def events_of(self, aggregate_id: str) -> list[tuple[int, str]]:
        """Version and type of an aggregate's events, in the order in which they were appended."""
        found = await self.rows(
            "SELECT aggregate_version, event_type FROM outbox WHERE aggregate_id = $1 ORDER BY id", aggregate_id
        )
        return [(row["aggregate_version"], row["event_type"]) for row in found]


@pytest.fixture
async def shop(settings: Settings) -> AsyncIterator[Shop]:
    app = create_app(settings)
    assert settings.postgres_url is not None
    transport = httpx.ASGITransport(app=app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://command") as client,
    ):
        yield Shop(client, app.state.tokens, settings.postgres_url, app.state.write_side)


def problem(answer: httpx.Response) -> tuple[int, str]:
    """Status and slug of a problem."""
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == answer.status_code
    return answer.status_code, answer.json()["type"].removeprefix("/problems/")
