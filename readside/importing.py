"""Writing real orders through the domain: the same aggregates, handlers, events and outbox as the command API's.

An import can be interrupted at any moment and run again without a second effect: orders, products and members that
exist are left alone, canceled orders are not canceled again, and stock is raised only by what the orders still to
come are short of. Only one import runs at a time on a database.

Orders and cancellations enter the log in the order of their time, by one writer, in transactions of `BATCH` steps.
A cancellation never shares a transaction with its order: within one transaction the outbox holds the events of one
aggregate after those of another, and the order's end would stand before other orders that were placed earlier.
"""

import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from command.bootstrap import before_commit_handlers
from command.catalog.model import Product
from command.catalog.storage import Products, Stock
from command.members.model import Member
from command.members.storage import Members
from command.ordering.model import Order, OrderStatus
from command.ordering.storage import Orders
from command.unit_of_work import Transactions, UnitOfWork
from events.ordering import RECORDED, Address, Line, Orderer, Receiver, ShippingInfo
from eventstore import Doorbell
from readside.errors import InUseError
from readside.online_retail import GUEST, Cancellation, RetailFile, RetailLine, RetailOrder
from runtime.clock import now
from runtime.ids import new_id
from runtime.postgres import connect, make_engine

BATCH = 50
"""Orders and cancellations in one transaction."""

PRODUCTS_AT_ONCE = 500

CATEGORY = "online-retail"
_IDS_AT_ONCE = 5_000  # far below the 32,767 parameters that a statement may have

T = TypeVar("T")
Step = RetailOrder | Cancellation
Progress = Callable[[int, int], None]
"""Told after every transaction how many steps are done, of how many."""


@dataclass
class Imported:
    """What one run did, and what it found done. ``stopped``: it was asked to end, and something is left to do."""

    orders: int = 0
    orders_before: int = 0
    cancellations: int = 0
    cancellations_before: int = 0
    products: int = 0
    members: int = 0
    seconds: float = 0.0
    stopped: bool = False


@dataclass
class _Demand:
    """What the orders to come need of a product, and how it is first called and priced."""

    first_at: datetime
    unit_price: int
    name: str = ""
    pieces: int = 0


async def import_online_retail(
    url: str,
    retail_file: RetailFile,
    *,
    currency: str,
    progress: Progress = lambda _done, _of: None,
    stop: Callable[[], bool] = lambda: False,
) -> Imported:
    """Write what is not there yet; ``stop`` is asked between transactions. Raises `InUseError`, driver errors."""
    engine = make_engine(url, "import", pool_size=1)
    try:
        async with _alone(url), Doorbell(url) as doorbell:
            transactions = Transactions(engine, before_commit_handlers(), doorbell)
            return await _Run(transactions, currency, stop).write(retail_file, progress)
    finally:
        await engine.dispose()


@asynccontextmanager
async def _alone(url: str) -> AsyncIterator[None]:
    connection = await connect(url, "import lock")
    try:
        # Held by the session: it ends with the connection, however this process ends.
        if not await connection.fetchval("SELECT pg_try_advisory_lock(hashtext('readside import'))"):
            raise InUseError("another import is running on this database; wait for its end")
        yield
    finally:
        await connection.close()


class _Run:
    """One run of an import."""

    def __init__(self, transactions: Transactions, currency: str, stop: Callable[[], bool]) -> None:
        self._transactions = transactions
        self._currency = currency
        self._stop = stop
        self._members: set[str] = set()
        self._product_names: dict[str, str] = {}
        self._imported = Imported()

    async def write(self, retail_file: RetailFile, progress: Progress) -> Imported:
        """Everything of the file that is not there yet, or as much as there is time for."""
        started = time.perf_counter()
        steps = await self._still_to_take(retail_file)
        await self._know_the_members(steps)
        await self._stock_up(steps)
        done = 0
        progress(done, len(steps))
        for batch in batches(steps):
            if self._stop():
                break
            await self._take(batch)
            done += len(batch)
            progress(done, len(steps))
        self._imported.stopped = done < len(steps)
        self._imported.seconds = time.perf_counter() - started
        return self._imported

    async def _still_to_take(self, retail_file: RetailFile) -> list[Step]:
        known: dict[str, OrderStatus] = {}
        async with self._transactions.begin() as uow:
            for part in _parts([order.order_id for order in retail_file.orders], _IDS_AT_ONCE):
                known |= await uow.repository(Orders).existing(part)
        steps = [step for step in retail_file.steps if _is_still_to_take(step, known)]
        orders = sum(isinstance(step, RetailOrder) for step in steps)
        self._imported.orders_before = len(retail_file.orders) - orders
        self._imported.cancellations_before = len(retail_file.cancellations) - (len(steps) - orders)
        return steps

    async def _know_the_members(self, steps: Sequence[Step]) -> None:
        wanted = sorted({step.member_id for step in steps if isinstance(step, RetailOrder)})
        async with self._transactions.begin() as uow:
            for part in _parts(wanted, _IDS_AT_ONCE):
                self._members |= await uow.repository(Members).existing(part)

    async def _stock_up(self, steps: Sequence[Step]) -> None:
        """See to it that the orders to come find what they need: register products, or add what is short."""
        demand = _demand(steps)
        for product_ids in _parts(list(demand), PRODUCTS_AT_ONCE):
            if self._stop():
                return
            async with self._transactions.begin() as uow:
                if await self._stock_up_on(uow, {product_id: demand[product_id] for product_id in product_ids}):
                    await uow.commit()

    async def _stock_up_on(self, uow: UnitOfWork, demand: dict[str, _Demand]) -> bool:
        products, stock = uow.repository(Products), uow.repository(Stock)
        known = await products.those(list(demand))
        available = await stock.available(list(known))
        changes = False
        for product_id, wanted in demand.items():
            product = known.get(product_id)
            short = wanted.pieces - available.get(product_id, 0)
            if product is None:
                product = self._registered(product_id, wanted)
                products.add(product)
                stock.open(product_id, wanted.pieces)
            elif short > 0:
                product.adjust_stock(short, "short of what an import needs", at=now())
                stock.change(product_id, short)
            self._product_names[product_id] = product.name
            changes |= bool(product.recorded)
        return changes

    def _registered(self, product_id: str, wanted: _Demand) -> Product:
        self._imported.products += 1
        return Product.register(
            product_id,
            name=wanted.name or product_id,
            category=CATEGORY,
            unit_price=wanted.unit_price,
            currency=self._currency,
            stock=wanted.pieces,
            at=wanted.first_at,
        )

    async def _take(self, batch: Sequence[Step]) -> None:
        async with self._transactions.begin() as uow:
            newcomers = self._register_newcomers(uow, batch)
            for step in batch:
                if isinstance(step, RetailOrder):
                    uow.repository(Orders).add(self._paid_order(step))
                else:
                    await _cancel(uow, step)
            await uow.commit()
        cancellations = sum(isinstance(step, Cancellation) for step in batch)
        self._members |= newcomers
        self._imported.members += len(newcomers)
        self._imported.orders += len(batch) - cancellations
        self._imported.cancellations += cancellations

    def _register_newcomers(self, uow: UnitOfWork, batch: Sequence[Step]) -> set[str]:
        newcomers: set[str] = set()
        for step in batch:
            if isinstance(step, RetailOrder) and step.member_id not in self._members | newcomers:
                uow.repository(Members).add(
                    Member.register(
                        step.member_id,
                        email=f"{step.member_id}@online-retail.invalid",
                        name=_member_name(step.member_id),
                        password_hash=None,
                        at=step.at,
                    )
                )
                newcomers.add(step.member_id)
        return newcomers

    def _paid_order(self, retail: RetailOrder) -> Order:
        name = _member_name(retail.member_id)
        order = Order.place(
            retail.order_id,
            orderer=Orderer(retail.member_id, name),
            currency=self._currency,
            lines=[self._line(line) for line in retail.lines],
            shipping_info=ShippingInfo(Receiver(name, ""), Address("", retail.country, "")),
            at=retail.at,
        )
        order.request_payment(new_id(), method=RECORDED, at=retail.at)
        order.approve_payment(at=retail.at)
        return order

    def _line(self, line: RetailLine) -> Line:
        return Line(
            line.product_id,
            line.description or self._product_names[line.product_id],
            CATEGORY,
            line.unit_price,
            line.quantity,
            line.unit_price * line.quantity,
        )


async def _cancel(uow: UnitOfWork, cancellation: Cancellation) -> None:
    order = await uow.repository(Orders).get(cancellation.order_id)
    order.cancel(f"credit note {cancellation.credit_note}", canceled_by="import", at=cancellation.at)


def batches(steps: Sequence[Step]) -> Iterator[list[Step]]:
    """Steps in their order, so many to a transaction, and no cancellation together with its order."""
    batch: list[Step] = []
    placed: set[str] = set()
    for step in steps:
        if len(batch) == BATCH or (isinstance(step, Cancellation) and step.order_id in placed):
            yield batch
            batch, placed = [], set()
        batch.append(step)
        if isinstance(step, RetailOrder):
            placed.add(step.order_id)
    if batch:
        yield batch


def _is_still_to_take(step: Step, known: dict[str, OrderStatus]) -> bool:
    if isinstance(step, RetailOrder):
        return step.order_id not in known
    # Canceled before, or meanwhile shipped by somebody: there is nothing to call off any more.
    return known.get(step.order_id, OrderStatus.PREPARING) is OrderStatus.PREPARING


def _demand(steps: Sequence[Step]) -> dict[str, _Demand]:
    demand: dict[str, _Demand] = {}
    for order in steps:
        for line in order.lines if isinstance(order, RetailOrder) else ():
            wanted = demand.get(line.product_id)
            if wanted is None:
                wanted = demand[line.product_id] = _Demand(order.at, line.unit_price)
            wanted.pieces += line.quantity
            wanted.name = wanted.name or line.description
    return demand


def _member_name(member_id: str) -> str:
    return "Guest" if member_id == GUEST else f"Customer {member_id}"


def _parts(everything: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(everything), size):
        yield everything[start : start + size]
