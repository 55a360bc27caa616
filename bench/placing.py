"""Placing an order with HTTP taken out: by Readside's use case, and by hand in five ways that write the same.

"The same" is: the prices of three products and the member's name are read, an order, its three lines and its outbox row
are inserted, the stock of the three products is taken, in one transaction on one connection of a pool, which is handed
back as pools do. By hand nothing else is done: no aggregate, no rule, no handler; one event is encoded.

- ``core``: SQLAlchemy Core on asyncpg, a statement for each of these, built once.
- ``core, unread``: the same that reads nothing: products and name are known from the start. Less than any shop can do.
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
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import uvloop

from bench.placed import MEMBER_ID, PRODUCTS, SHIPPING, Place, chosen
from bench.placing_by_asyncpg import by_asyncpg, by_one_statement
from bench.placing_by_sqlalchemy import by_core, by_core_unread, by_orm
from command.bootstrap import before_commit_handlers, neighbours
from command.ordering import service
from command.unit_of_work import Transactions
from eventstore import Doorbell
from runtime.postgres import make_engine
from runtime.tokens import Caller

_WARM_UP_SECONDS = 1.0


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


WAYS = {
    "readside": by_readside,
    "core": by_core,
    "core, unread": by_core_unread,
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
