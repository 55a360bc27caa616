"""The product. How many are in stock is not part of it: a best seller's stock changes with every order, and a version
on it would make those orders conflict. Stock is a number that the database guards, see `command.catalog.storage`."""

from dataclasses import dataclass
from datetime import datetime

from command.aggregate import Aggregate
from command.errors import RuleBroken
from events.catalog import ProductDetailsChanged, ProductRegistered, StockAdjusted


class ProductAlreadyRegistered(RuleBroken):
    """A product with this id exists."""


class InsufficientStock(RuleBroken):
    """There is not enough in stock of {products}."""


@dataclass(kw_only=True, eq=False)
class Product(Aggregate):
    """One product. ``unit_price`` in minor units of ``currency``."""

    name: str
    category: str
    unit_price: int
    currency: str

    @classmethod
    def register(
        cls,
        product_id: str,
        *,
        name: str,
        category: str,
        unit_price: int,
        currency: str,
        stock: int,
        at: datetime,
    ) -> "Product":
        """A product enters the catalog."""
        product = cls(id=product_id, name=name, category=category, unit_price=unit_price, currency=currency)
        product.record(
            ProductRegistered(name=name, category=category, unit_price=unit_price, currency=currency, stock=stock),
            at,
        )
        return product

    def change_details(
        self, *, name: str | None = None, category: str | None = None, unit_price: int | None = None, at: datetime
    ) -> None:
        """Change what is given; orders placed before keep what they were placed with."""
        self.name = self.name if name is None else name
        self.category = self.category if category is None else category
        self.unit_price = self.unit_price if unit_price is None else unit_price
        self.record(ProductDetailsChanged(name=self.name, category=self.category, unit_price=self.unit_price), at)

    def adjust_stock(self, delta: int, reason: str, *, at: datetime) -> None:
        """Pieces came or went. Whether so many can go is decided where the stock is kept."""
        self.record(StockAdjusted(delta=delta, reason=reason), at)
