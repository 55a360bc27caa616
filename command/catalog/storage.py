"""Tables and statements of the catalog context."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ARRAY, BigInteger, CheckConstraint, Column, Table, Text, any_, bindparam, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from command.aggregate import Aggregate
from command.catalog.model import InsufficientStock, Product, ProductAlreadyRegistered
from command.database import metadata
from command.errors import ConcurrentUpdate, NotFound
from command.storage import AggregateRepository

products = Table(
    "products",
    metadata,
    Column("product_id", Text, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("name", Text, nullable=False),
    Column("category", Text, nullable=False),
    Column("unit_price", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
)

product_stock = Table(
    "product_stock",
    metadata,
    Column("product_id", Text, primary_key=True),
    Column("available", BigInteger, CheckConstraint("available >= 0", name="not_negative"), nullable=False),
)

# Built once: to build a statement, and its key in the cache of compiled ones, takes longer than to run it. And one
# array instead of a parameter for each id, which would be rendered anew for every order.
_THOSE = select(products).where(products.c.product_id == any_(bindparam("ids", type_=ARRAY(Text))))

# Rows are locked in one order by every transaction, so that two orders for the same products cannot deadlock. The
# deltas come out of the scan that locks: in a CTE of their own, which has no statistics, they would be joined pair by
# pair, and the hundreds of products of an import's batch would take five times as long.
_CHANGE_STOCK = text(
    """
    WITH locked AS MATERIALIZED (
        SELECT product_id, delta
          FROM product_stock
          JOIN unnest(CAST(:ids AS text[]), CAST(:deltas AS bigint[])) AS wanted (product_id, delta)
               USING (product_id)
         ORDER BY product_id
           FOR UPDATE OF product_stock
    )
    UPDATE product_stock SET available = available + delta
      FROM locked
     WHERE product_stock.product_id = locked.product_id AND available + delta >= 0
    RETURNING product_stock.product_id
    """
)
_OPEN_STOCK = text(
    "INSERT INTO product_stock (product_id, available)"
    " SELECT * FROM unnest(CAST(:ids AS text[]), CAST(:stocks AS bigint[]))"
)


class Products(AggregateRepository[Product]):
    """The products of the catalog."""

    table = products
    key = "product_id"

    async def get(self, product_id: str) -> Product:
        """Raises `NotFound`."""
        found = await self.those([product_id])
        if not found:
            raise NotFound(what="product")
        return found[product_id]

    async def those(self, product_ids: Sequence[str]) -> dict[str, Product]:
        """Those of these products that exist, by id."""
        rows = await self.connection.execute(_THOSE, {"ids": list(product_ids)})
        return {
            row.product_id: self.loaded(
                Product(
                    id=row.product_id,
                    version=row.version,
                    name=row.name,
                    category=row.category,
                    unit_price=row.unit_price,
                    currency=row.currency,
                )
            )
            for row in rows
        }

    async def insert(self, aggregates: Sequence[Product]) -> None:
        """Raises `ProductAlreadyRegistered` where an id is taken."""
        try:
            await super().insert(aggregates)
        except ConcurrentUpdate:
            raise ProductAlreadyRegistered from None

    def row(self, aggregate: Product) -> dict[str, Any]:
        """The product as a row."""
        return {
            "product_id": aggregate.id,
            "version": aggregate.version,
            "name": aggregate.name,
            "category": aggregate.category,
            "unit_price": aggregate.unit_price,
            "currency": aggregate.currency,
        }


class Stock:
    """Changes of stock in this transaction, summed up and made in one statement, or refused together."""

    def __init__(self, connection: AsyncConnection) -> None:
        self.connection = connection
        self._opened: dict[str, int] = {}
        self._deltas: Counter[str] = Counter()

    def open(self, product_id: str, stock: int) -> None:
        """Begin to count a new product."""
        self._opened[product_id] = stock

    def change(self, product_id: str, delta: int) -> None:
        """Pieces come (positive) or go (negative)."""
        self._deltas[product_id] += delta

    def touched(self) -> Sequence[Aggregate]:
        """Stock is no aggregate; its changes are told by the events of those that cause them."""
        return ()

    async def available(self, product_ids: Sequence[str]) -> dict[str, int]:
        """What is in stock now, of those of these products that exist."""
        rows = await self.connection.execute(select(product_stock).where(product_stock.c.product_id.in_(product_ids)))
        return {row.product_id: row.available for row in rows}

    async def save(self) -> None:
        """Raises `InsufficientStock`, naming the products, where any would fall below zero."""
        if self._opened:
            await self.connection.execute(
                _OPEN_STOCK, {"ids": list(self._opened), "stocks": list(self._opened.values())}
            )
        if self._deltas:
            ids = list(self._deltas)
            rows = await self.connection.execute(_CHANGE_STOCK, {"ids": ids, "deltas": list(self._deltas.values())})
            refused = set(ids).difference(rows.scalars())
            if refused:
                raise InsufficientStock(products=", ".join(sorted(refused)))
