"""The one place where the contexts of the write side meet."""

from command.catalog import handlers as catalog_handlers
from command.catalog import service as catalog
from command.members.storage import Members
from command.ordering.service import Neighbours
from command.unit_of_work import Handlers, UnitOfWork


def before_commit_handlers() -> Handlers:
    """Every context's before-commit handlers, in the order in which they run."""
    handlers = Handlers()
    catalog_handlers.subscribe(handlers)
    return handlers


def neighbours_of_ordering() -> Neighbours:
    """What ordering asks of catalog and members."""

    async def member_name(uow: UnitOfWork, member_id: str) -> str | None:
        return await uow.repository(Members).name_of(member_id)

    return Neighbours(products_now=catalog.products_now, member_name=member_name)  # type: ignore[arg-type]  # dict is invariant
