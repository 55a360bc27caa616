"""Placing an order with HTTP taken out: by Readside's use case, and by hand in four ways that write the same.

"The same" is: the prices of three products and the member's name are read, an order, its three lines and its outbox row
are inserted, the stock of the three products is taken, in one transaction on one connection of a pool, which is handed
back as pools do. By hand nothing else is done: no aggregate, no rule, no handler; one event is encoded.

- ``core``: SQLAlchemy Core on asyncpg, a statement for each of these, built once.
- ``orm``: its ORM, mapped classes and a session for each order.
- ``asyncpg``: the driver alone, prepared statements, the same statements.
- ``one statement``: the driver alone; all of it in one statement, without a transaction around it.

``python -m bench.placing KIND URL CONNECTIONS SECONDS`` is one process that does so, and prints orders a second.
"""

import asyncio
import json
import random
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import asyncpg
import msgspec
import uvloop
from sqlalchemy import bindparam, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase

from command.bootstrap import before_commit_handlers, neighbours
from command.catalog.storage import product_stock, products
from command.members.storage import members
from command.ordering import service
from command.ordering.storage import order_lines, orders
from command.unit_of_work import Transactions
from events.ordering import Address, Line, Orderer, OrderPlaced, Receiver, ShippingInfo
from eventstore import Doorbell
from runtime.ids import new_id
from runtime.postgres import make_engine
from runtime.tokens import Caller

PRODUCTS = 4_000
"""So many that two orders seldom wait for each other's stock."""
LINES = 3
_WARM_UP_SECONDS = 1.0

MEMBER_ID = "bench-member"
SHIPPING = ShippingInfo(Receiver("Ann", "555-0100"), Address("12345", "1 Example Street", ""), "ring twice")
_SHIPPING_COLUMNS = {
    "receiver_name": SHIPPING.receiver.name,
    "receiver_phone": SHIPPING.receiver.phone,
    "zip_code": SHIPPING.address.zip_code,
    "address1": SHIPPING.address.address1,
    "address2": SHIPPING.address.address2,
    "message": SHIPPING.message,
}
Place = Callable[[list[str]], Awaitable[object]]


async def prepare(url: str) -> None:
    """Products with stock that no run uses up, and the member."""
    connection = await asyncpg.connect(url)
    await connection.execute(
        "INSERT INTO products (product_id, version, name, category, unit_price, currency)"
        " SELECT 'p-' || n, 1, 'Product ' || n, 'category-' || n % 8, 100 + n % 900, 'USD'"
        " FROM generate_series(1, $1) AS n",
        PRODUCTS,
    )
    await connection.execute("INSERT INTO product_stock SELECT product_id, 1000000000000 FROM products")
    await connection.execute(
        "INSERT INTO members (member_id, version, email, name) VALUES ($1, 1, 'ann@example.org', 'Ann')", MEMBER_ID
    )
    await connection.execute("VACUUM ANALYZE")
    await connection.close()


async def empty(url: str) -> None:
    """As it was before the first order: no run finds larger tables than another."""
    connection = await asyncpg.connect(url)
    await connection.execute("TRUNCATE orders, order_lines, outbox")
    await connection.execute("VACUUM product_stock")
    await connection.close()


def chosen(rng: random.Random) -> list[str]:
    """Three products, in the order in which everybody locks their stock."""
    return sorted(f"p-{number}" for number in rng.sample(range(1, PRODUCTS + 1), LINES))


@asynccontextmanager
async def by_readside(url: str, connections: int) -> AsyncIterator[Place]:
    """The use case in a unit of work, as the command API runs it."""
    engine = make_engine(url, "bench", pool_size=connections)
    transactions = Transactions(engine, before_commit_handlers(), Doorbell(url))
    asked, caller = neighbours()[service.Neighbours], Caller(MEMBER_ID, frozenset({"customer"}))

    async def place(product_ids: list[str]) -> None:
        async with transactions.begin() as uow:
            await service.place_order(
                uow,
                asked,
                caller=caller,
                currency="USD",
                lines=[(product_id, 1) for product_id in product_ids],
                shipping_info=SHIPPING,
            )
            await uow.commit()

    yield place
    await engine.dispose()


_PRICES = select(products).where(products.c.product_id.in_(bindparam("ids", expanding=True)))
_NAME = select(members.c.name).where(members.c.member_id == bindparam("member"))
_TAKE = text(
    "UPDATE product_stock SET available = available - 1 WHERE product_id = ANY(CAST(:ids AS text[])) AND available >= 1"
)
_OUTBOX = text(
    "INSERT INTO outbox (event_id, event_type, schema_version, aggregate_type, aggregate_id, aggregate_version,"
    " occurred_at, payload) VALUES (:event_id, 'OrderPlaced', 1, 'order', :order_id, 1, :at, :payload)"
    " RETURNING CAST(transaction_id AS text)"
)


@asynccontextmanager
async def by_core(url: str, connections: int) -> AsyncIterator[Place]:
    """SQLAlchemy Core."""
    engine = make_engine(url, "bench", pool_size=connections)
    insert_order, insert_lines = insert(orders), insert(order_lines)

    async def place(product_ids: list[str]) -> None:
        async with engine.begin() as connection:
            found = {row.product_id: row for row in await connection.execute(_PRICES, {"ids": product_ids})}
            name = await connection.scalar(_NAME, {"member": MEMBER_ID})
            order, lines, event = _rows(product_ids, found, name)
            await connection.execute(insert_order, order)
            await connection.execute(insert_lines, lines)
            await connection.execute(_TAKE, {"ids": product_ids})
            await connection.scalar(_OUTBOX, event)

    yield place
    await engine.dispose()


class _Base(DeclarativeBase):
    """Of the mapped classes."""


class _Order(_Base):
    __table__ = orders.to_metadata(_Base.metadata)


class _OrderLine(_Base):
    __table__ = order_lines.to_metadata(_Base.metadata)


class _Product(_Base):
    __table__ = products.to_metadata(_Base.metadata)


class _Stock(_Base):
    __table__ = product_stock.to_metadata(_Base.metadata)


class _Member(_Base):
    __table__ = members.to_metadata(_Base.metadata)


@asynccontextmanager
async def by_orm(url: str, connections: int) -> AsyncIterator[Place]:
    """SQLAlchemy ORM."""
    engine = make_engine(url, "bench", pool_size=connections)
    wanted = select(_Product).where(_Product.__table__.c.product_id.in_(bindparam("ids", expanding=True)))
    stock = _Stock.__table__

    async def place(product_ids: list[str]) -> None:
        async with AsyncSession(engine) as session, session.begin():
            found: dict[str, Any] = {one.product_id: one for one in await session.scalars(wanted, {"ids": product_ids})}  # type: ignore[attr-defined]
            member: Any = await session.get(_Member, MEMBER_ID)
            order, lines, event = _rows(product_ids, found, member.name)
            session.add(_Order(**order))
            session.add_all([_OrderLine(**line) for line in lines])
            await session.flush()
            await session.execute(
                update(stock)
                .where(stock.c.product_id.in_(product_ids), stock.c.available >= 1)
                .values(available=stock.c.available - 1)
            )
            await session.scalar(_OUTBOX, event)

    yield place
    await engine.dispose()


_ORDER_COLUMNS = (
    "order_id, version, status, member_id, orderer_name, currency, total_amount, discount_amount,"
    " receiver_name, receiver_phone, zip_code, address1, address2, message, placed_at"
)
_ORDER_VALUES = "$1, 1, 'PAYMENT_WAITING', $2, $3, 'USD', $4, 0, $5, $6, $7, $8, $9, $10, $11"
_LINE_COLUMNS = "order_id, line_number, product_id, name, category, unit_price, quantity, amount, discount"


@asynccontextmanager
async def by_asyncpg(url: str, connections: int) -> AsyncIterator[Place]:
    """The driver alone, statement by statement."""
    pool = await asyncpg.create_pool(url, min_size=connections, max_size=connections)
    insert_lines = (
        f"INSERT INTO order_lines ({_LINE_COLUMNS})"  # noqa: S608
        " SELECT $1, number, product_id, name, category, unit_price, 1, amount, 0"
        " FROM unnest($2::int[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::bigint[])"
        " AS l (number, product_id, name, category, unit_price, amount)"
    )

    async def place(product_ids: list[str]) -> None:
        async with pool.acquire() as connection, connection.transaction():
            rows = await connection.fetch("SELECT * FROM products WHERE product_id = ANY($1::text[])", product_ids)
            found = {row["product_id"]: row for row in rows}
            name = await connection.fetchval("SELECT name FROM members WHERE member_id = $1", MEMBER_ID)
            order_id, at, payload, lines = _event(product_ids, found, name)
            await connection.execute(
                f"INSERT INTO orders ({_ORDER_COLUMNS}) VALUES ({_ORDER_VALUES})",  # noqa: S608
                *_order_values(order_id, name, at, lines),
            )
            await connection.execute(
                insert_lines,
                order_id,
                [1, 2, 3],
                product_ids,
                [line.name for line in lines],
                [line.category for line in lines],
                [line.unit_price for line in lines],
                [line.amount for line in lines],
            )
            await connection.execute(
                "UPDATE product_stock SET available = available - 1"
                " WHERE product_id = ANY($1::text[]) AND available >= 1",
                product_ids,
            )
            await connection.fetchval(
                "INSERT INTO outbox (event_id, event_type, schema_version, aggregate_type, aggregate_id,"
                " aggregate_version, occurred_at, payload) VALUES ($1, 'OrderPlaced', 1, 'order', $2, 1, $3, $4)"
                " RETURNING transaction_id::text",
                new_id(),
                order_id,
                at,
                payload,
            )

    yield place
    await pool.close()


_ALL_AT_ONCE = f"""
WITH priced AS MATERIALIZED (
    SELECT row_number() OVER (ORDER BY product_id) AS number, p.* FROM products AS p WHERE product_id = ANY($12::text[])
), taken AS (
    UPDATE product_stock SET available = available - 1 WHERE product_id = ANY($12::text[]) AND available >= 1
), placed AS (
    INSERT INTO orders ({_ORDER_COLUMNS}) VALUES ($1, 1, 'PAYMENT_WAITING', $2, $3, 'USD', $4, 0, $5, $6, $7, $8, $9, $10, $11)
), held AS (
    INSERT INTO order_lines ({_LINE_COLUMNS})
    SELECT $1, number, product_id, name, category, unit_price, 1, unit_price, 0 FROM priced
)
INSERT INTO outbox (event_id, event_type, schema_version, aggregate_type, aggregate_id, aggregate_version, occurred_at, payload)
VALUES ($13, 'OrderPlaced', 1, 'order', $1, 1, $11, $14) RETURNING transaction_id::text
"""  # noqa: S608, E501


@asynccontextmanager
async def by_one_statement(url: str, connections: int) -> AsyncIterator[Place]:
    """The driver alone. What the event holds of the products is read before, in another statement."""
    pool = await asyncpg.create_pool(url, min_size=connections, max_size=connections)

    async def place(product_ids: list[str]) -> None:
        async with pool.acquire() as connection:
            rows = await connection.fetch("SELECT * FROM products WHERE product_id = ANY($1::text[])", product_ids)
            found = {row["product_id"]: row for row in rows}
            order_id, at, payload, lines = _event(product_ids, found, "Ann")
            values = _order_values(order_id, "Ann", at, lines)
            await connection.fetchval(_ALL_AT_ONCE, *values, product_ids, new_id(), payload)

    yield place
    await pool.close()


def _event(product_ids: list[str], found: Any, name: str) -> tuple[str, datetime, str, list[Line]]:
    def of(product_id: str) -> Line:
        row = found[product_id]
        named = row if isinstance(row, asyncpg.Record) else row.__dict__ if hasattr(row, "__dict__") else row._mapping
        price = named["unit_price"]
        return Line(product_id, named["name"], named["category"], price, 1, price)

    lines = [of(product_id) for product_id in product_ids]
    event = OrderPlaced(
        orderer=Orderer(MEMBER_ID, name),
        currency="USD",
        lines=tuple(lines),
        total_amount=sum(line.amount for line in lines),
        discount_amount=0,
        shipping_info=SHIPPING,
    )
    return new_id(), datetime.now(UTC), msgspec.json.encode(event).decode(), lines


def _order_values(order_id: str, name: str, at: datetime, lines: list[Line]) -> tuple[Any, ...]:
    total = sum(line.amount for line in lines)
    return (order_id, MEMBER_ID, name, total, *_SHIPPING_COLUMNS.values(), at)


def _rows(
    product_ids: list[str], found: Any, name: str | None
) -> tuple[dict[str, Any], list[dict[str, Any]], dict[str, Any]]:
    assert name is not None
    order_id, at, payload, lines = _event(product_ids, found, name)
    order = {
        "order_id": order_id,
        "version": 1,
        "status": "PAYMENT_WAITING",
        "member_id": MEMBER_ID,
        "orderer_name": name,
        "currency": "USD",
        "total_amount": sum(line.amount for line in lines),
        "discount_amount": 0,
        **_SHIPPING_COLUMNS,
        "placed_at": at,
    }
    held = [
        {
            "order_id": order_id,
            "line_number": number,
            "product_id": line.product_id,
            "name": line.name,
            "category": line.category,
            "unit_price": line.unit_price,
            "quantity": line.quantity,
            "amount": line.amount,
            "discount": 0,
        }
        for number, line in enumerate(lines, 1)
    ]
    return order, held, {"event_id": new_id(), "order_id": order_id, "at": at, "payload": payload}


WAYS = {
    "readside": by_readside,
    "core": by_core,
    "orm": by_orm,
    "asyncpg": by_asyncpg,
    "one statement": by_one_statement,
}


async def rate(kind: str, url: str, connections: int, seconds: float) -> float:
    """Orders a second, after a second of warming up."""
    rng, count, stopped = random.Random(connections), 0, False  # noqa: S311  (repeatable load, no secret)
    async with WAYS[kind](url, connections) as place:

        async def keep_placing() -> None:
            nonlocal count
            while not stopped:
                await place(chosen(rng))
                count += 1

        tasks = [asyncio.create_task(keep_placing()) for _ in range(connections)]
        await asyncio.sleep(_WARM_UP_SECONDS)
        before, started = count, time.perf_counter()
        await asyncio.sleep(seconds)
        placed, took = count - before, time.perf_counter() - started
        stopped = True
        await asyncio.gather(*tasks)
    return placed / took


if __name__ == "__main__":
    _, kind, url, connections, seconds = sys.argv
    asked = rate(kind, url, int(connections), float(seconds))
    print(json.dumps(uvloop.run(asked)))  # noqa: T201  (this is how the two processes talk)
