"""The one place where the contexts of the write side meet."""

from collections.abc import Mapping
from typing import Any

from command import contexts
from command.catalog import service as catalog
from command.coupons import service as coupons
from command.members.storage import Members
from command.ordering import service as ordering
from command.posts import service as posts
from command.unit_of_work import Handlers, UnitOfWork


def before_commit_handlers() -> Handlers:
    """Every context's before-commit handlers, in the order in which they run: see `command.contexts`."""
    handlers = Handlers()
    for module in contexts.brought("handlers"):
        module.subscribe(handlers)
    return handlers


def neighbours() -> Mapping[type[Any], Any]:
    """What contexts ask of each other while they handle a command, by the asking context's own ``Neighbours``."""

    async def member_name(uow: UnitOfWork, member_id: str) -> str | None:
        return await uow.repository(Members).name_of(member_id)

    async def product_name(uow: UnitOfWork, product_id: str) -> str | None:
        found = await catalog.products_now(uow, [product_id])
        return found[product_id].name if product_id in found else None

    return {
        ordering.Neighbours: ordering.Neighbours(
            products_now=catalog.products_now,  # type: ignore[arg-type]  # dict is invariant
            member_name=member_name,
            coupon_quote=coupons.quote,
        ),
        posts.Neighbours: posts.Neighbours(product_name=product_name, member_name=member_name),
    }
