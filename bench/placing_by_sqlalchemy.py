"""Placing an order by hand through SQLAlchemy: by Core, by Core that reads nothing, and by the ORM."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import bindparam, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase

from bench.placed import MEMBER_ID, Place, rows_of
from command.catalog.storage import product_stock, products
from command.members.storage import members
from command.ordering.storage import order_lines, orders
from runtime.postgres import make_engine

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
            order, lines, event = rows_of(product_ids, found, name)
            await connection.execute(insert_order, order)
            await connection.execute(insert_lines, lines)
            await connection.execute(_TAKE, {"ids": product_ids})
            await connection.scalar(_OUTBOX, event)

    yield place
    await engine.dispose()


@asynccontextmanager
async def by_core_unread(url: str, connections: int) -> AsyncIterator[Place]:
    """SQLAlchemy Core, the writes alone."""
    engine = make_engine(url, "bench", pool_size=connections)
    insert_order, insert_lines = insert(orders), insert(order_lines)
    async with engine.connect() as connection:
        found = {row.product_id: row for row in await connection.execute(select(products))}

    async def place(product_ids: list[str]) -> None:
        order, lines, event = rows_of(product_ids, found, "Ann")
        async with engine.begin() as connection:
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
            order, lines, event = rows_of(product_ids, found, member.name)
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
