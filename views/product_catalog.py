"""Product catalog: what is sold, for how much, and how many are in stock.

Shape:   one document per product, see `CatalogProduct`.
Units:   ``unit_price`` in minor units of ``currency``; ``stock`` in pieces, what open orders have reserved taken off.
Source:  the product's own events; `OrderPlaced` takes from the stock, `OrderCanceled` puts back.
"""

import msgspec

from events.catalog import ProductDetailsChanged, ProductRegistered, StockAdjusted
from events.envelope import Envelope
from events.ordering import OrderCanceled, OrderPlaced
from views.kit import Document, Index, Projection
from views.times import rfc3339


class CatalogProduct(Document, frozen=True, kw_only=True):
    """A product as the shop window shows it."""

    name: str = ""
    category: str = ""
    unit_price: int = 0
    currency: str = ""
    stock: int = 0
    version: int = 0
    registered_at: str = ""
    updated_at: str = ""


view = Projection(CatalogProduct, name="product_catalog", version=1, indexes=(Index((("category", 1), ("_id", 1))),))


@view.on(ProductRegistered)
def register(product: CatalogProduct, event: ProductRegistered, envelope: Envelope) -> CatalogProduct:
    """A product entered the catalog."""
    at = rfc3339(envelope.occurred_at)
    return msgspec.structs.replace(
        product,
        name=event.name,
        category=event.category,
        unit_price=event.unit_price,
        currency=event.currency,
        stock=product.stock + event.stock,
        version=envelope.aggregate_version,
        registered_at=at,
        updated_at=at,
    )


@view.on(ProductDetailsChanged)
def change_details(product: CatalogProduct, event: ProductDetailsChanged, envelope: Envelope) -> CatalogProduct:
    """Name, category and price are these now."""
    return msgspec.structs.replace(
        product,
        name=event.name,
        category=event.category,
        unit_price=event.unit_price,
        version=envelope.aggregate_version,
        updated_at=rfc3339(envelope.occurred_at),
    )


@view.on(StockAdjusted)
def adjust_stock(product: CatalogProduct, event: StockAdjusted, envelope: Envelope) -> CatalogProduct:
    """Pieces came or went."""
    return msgspec.structs.replace(
        product,
        stock=product.stock + event.delta,
        version=envelope.aggregate_version,
        updated_at=rfc3339(envelope.occurred_at),
    )


def _products(event: OrderPlaced | OrderCanceled) -> set[str]:
    return {line.product_id for line in event.lines}


@view.on(OrderPlaced, keys=_products)
def reserve(product: CatalogProduct, event: OrderPlaced) -> CatalogProduct:
    """An order took some."""
    return msgspec.structs.replace(product, stock=product.stock - _pieces(event, product.id))


@view.on(OrderCanceled, keys=_products)
def release(product: CatalogProduct, event: OrderCanceled) -> CatalogProduct:
    """A canceled order gave some back."""
    return msgspec.structs.replace(product, stock=product.stock + _pieces(event, product.id))


def _pieces(event: OrderPlaced | OrderCanceled, product_id: str) -> int:
    return sum(line.quantity for line in event.lines if line.product_id == product_id)
