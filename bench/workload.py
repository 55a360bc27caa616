"""The work: orders of one to five lines over sixty days, most of them paid, some canceled, made by the domain."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import asyncpg

from command.ordering.model import Order
from events.ordering import RECORDED, Address, Line, Orderer, Receiver, ShippingInfo
from eventstore import PendingEvent, Sequencer, append
from eventstore.partitions import SIZE, Partitions
from runtime.ids import new_id
from runtime.postgres import make_engine

PRODUCTS = 500
MEMBERS = 2_000
_FIRST_DAY = datetime(2026, 1, 1, tzinfo=UTC)
_SHIPPING = ShippingInfo(Receiver("Ada Buyer", "+44 20 7946 0000"), Address("N1 9GU", "1 Canal Street", ""), "")
_EVENTS_PER_TRANSACTION = 2_000
_ORIGINALS = 10_000


def some_order(rng: random.Random, at: datetime) -> Order:
    """A freshly placed order."""
    member = rng.randrange(MEMBERS)
    lines = [_line(rng) for _ in range(rng.randint(1, 5))]
    return Order.place(
        new_id(),
        orderer=Orderer(f"member-{member}", f"Member {member}"),
        currency="USD",
        lines=lines,
        shipping_info=_SHIPPING,
        at=at,
    )


def orders(count: int, seed: int) -> Iterator[Order]:
    """Orders in the order of their time; nine in ten paid, one in twenty canceled after that."""
    rng = random.Random(seed)  # noqa: S311  (repeatable load, no secret)
    for number in range(count):
        at = _FIRST_DAY + timedelta(seconds=number * 60 * 86_400 / count)
        order = some_order(rng, at)
        if rng.random() < 0.9:
            order.request_payment(new_id(), method=RECORDED, at=at + timedelta(seconds=30))
            order.approve_payment(at=at + timedelta(seconds=31))
            if rng.random() < 0.05:
                order.cancel("changed my mind", canceled_by=order.orderer.member_id, at=at + timedelta(hours=3))
        yield order


async def fill_log(url: str, count: int, seed: int = 1) -> int:
    """Append the events of so many orders and sequence them. Returns the number of events."""
    engine = make_engine(url, "bench", pool_size=1)
    sequencer = Sequencer(url, batch_limit=_EVENTS_PER_TRANSACTION)
    try:
        waiting: list[PendingEvent] = []
        for order in orders(count, seed):
            waiting += order.recorded
            if len(waiting) >= _EVENTS_PER_TRANSACTION:
                async with engine.begin() as connection:
                    await append(connection, waiting)
                waiting.clear()
        async with engine.begin() as connection:
            await append(connection, waiting)
        while (sequenced := await sequencer.sequence()).moved:
            pass
        return sequenced.head
    finally:
        await sequencer.close()
        await engine.dispose()


_COPY = """
INSERT INTO event_log (position, event_id, event_type, schema_version, aggregate_type, aggregate_id, aggregate_version,
                       occurred_at, recorded_at, payload)
SELECT position + $1::bigint * $2::bigint, gen_random_uuid(), event_type, schema_version, aggregate_type,
       aggregate_id || '-' || $2::bigint, aggregate_version, occurred_at, recorded_at, payload
  FROM event_log WHERE position <= $1
"""


async def fill_log_by_copies(url: str, count: int) -> int:
    """The same for a great many orders, in a tenth of the time: copies of the first 10,000 under ids of their own.

    Each copy lives through the same sixty days once more; so days, products and members stay as many as they were.
    """
    head = await fill_log(url, min(count, _ORIGINALS))
    copies = count // _ORIGINALS
    connection = await asyncpg.connect(url)
    try:
        for millions in range(head * copies // SIZE + 1):
            await Partitions().ensure(connection, millions * SIZE)
        for number in range(1, copies):
            await connection.execute(_COPY, head, number, timeout=None)
        last = head * max(copies, 1)
        await connection.execute(
            "UPDATE event_log SET snapshot = pg_current_snapshot()::text WHERE position = $1", last
        )
        await connection.execute("VACUUM ANALYZE event_log")
        return last
    finally:
        await connection.close()


def _line(rng: random.Random) -> Line:
    number = int(PRODUCTS * rng.random() ** 2)  # some sell better than others
    price, quantity = 100 + number * 37 % 5_000, rng.randint(1, 4)
    return Line(f"product-{number}", f"Product {number}", f"category-{number % 8}", price, quantity, price * quantity)
