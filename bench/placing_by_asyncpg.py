"""Placing an order by hand through the driver alone: statement by statement, and in one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from bench.placed import MEMBER_ID, Place, event_of, order_values
from runtime.ids import new_id

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
            order_id, at, payload, lines = event_of(product_ids, found, name)
            await connection.execute(
                f"INSERT INTO orders ({_ORDER_COLUMNS}) VALUES ({_ORDER_VALUES})",  # noqa: S608
                *order_values(order_id, name, at, lines),
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
            order_id, at, payload, lines = event_of(product_ids, found, "Ann")
            values = order_values(order_id, "Ann", at, lines)
            await connection.fetchval(_ALL_AT_ONCE, *values, product_ids, new_id(), payload)

    yield place
    await pool.close()
