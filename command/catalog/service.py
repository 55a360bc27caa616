"""Use cases of the catalog context."""

from collections.abc import Sequence

from command.catalog.model import Product, ProductAlreadyRegistered
from command.catalog.storage import Products, Stock
from command.unit_of_work import UnitOfWork
from runtime.clock import now


async def register_product(
    uow: UnitOfWork, product_id: str, *, name: str, category: str, unit_price: int, currency: str, stock: int
) -> Product:
    """Enter a product. Raises `ProductAlreadyRegistered`."""
    products = uow.repository(Products)
    if await products.those([product_id]):
        raise ProductAlreadyRegistered
    product = Product.register(
        product_id,
        name=name,
        category=category,
        unit_price=unit_price,
        currency=currency,
        stock=stock,
        at=now(),
    )
    products.add(product)
    uow.repository(Stock).open(product_id, stock)
    return product


async def change_details(
    uow: UnitOfWork,
    product_id: str,
    *,
    name: str | None = None,
    category: str | None = None,
    unit_price: int | None = None,
) -> Product:
    """Change what is given. Raises `NotFound`, `StaleVersion`."""
    product = uow.as_expected(await uow.repository(Products).get(product_id))
    product.change_details(name=name, category=category, unit_price=unit_price, at=now())
    return product


async def adjust_stock(uow: UnitOfWork, product_id: str, *, delta: int, reason: str) -> Product:
    """Book pieces in or out. Raises `NotFound`, `StaleVersion`; at commit `InsufficientStock`."""
    product = uow.as_expected(await uow.repository(Products).get(product_id))
    product.adjust_stock(delta, reason, at=now())
    uow.repository(Stock).change(product_id, delta)
    return product


async def products_now(uow: UnitOfWork, product_ids: Sequence[str]) -> dict[str, Product]:
    """The catalog's answer to other contexts: those of these products that exist, as they are now."""
    return await uow.repository(Products).those(product_ids)
