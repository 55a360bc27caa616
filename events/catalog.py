"""Events of the catalog context: products and what is in stock.

Stock that an order reserves or frees is told by `OrderPlaced` and `OrderCanceled`; `StockAdjusted` tells of every
other change.
"""

from typing import Annotated

import msgspec

from events.envelope import DomainEvent, published

Minor = Annotated[int, msgspec.Meta(ge=0)]


@published("product")
class ProductRegistered(DomainEvent, frozen=True, kw_only=True):
    """A product entered the catalog with this much in stock."""

    name: str
    category: str
    unit_price: Minor
    currency: str
    stock: Annotated[int, msgspec.Meta(ge=0)]


@published("product")
class ProductDetailsChanged(DomainEvent, frozen=True, kw_only=True):
    """Name, category and price are now these; orders placed before keep theirs."""

    name: str
    category: str
    unit_price: Minor


@published("product")
class StockAdjusted(DomainEvent, frozen=True, kw_only=True):
    """``delta`` pieces came (positive) or went (negative) for a reason other than an order."""

    delta: int
    reason: str
