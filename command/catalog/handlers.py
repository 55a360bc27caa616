"""The catalog in the transactions of other contexts: placing an order takes stock, canceling it gives it back."""

from command.catalog.storage import Stock
from command.unit_of_work import Handlers, UnitOfWork
from events.ordering import OrderCanceled, OrderPlaced
from eventstore import PendingEvent


async def reserve_stock(pending: PendingEvent, uow: UnitOfWork) -> None:
    """Take what the order holds; the transaction fails whole if there is not enough."""
    _change(pending.event, uow, sign=-1)


async def release_stock(pending: PendingEvent, uow: UnitOfWork) -> None:
    """Put back what the order held."""
    _change(pending.event, uow, sign=+1)


def subscribe(handlers: Handlers) -> None:
    """Enter this context's before-commit handlers."""
    handlers.before_commit(OrderPlaced, reserve_stock)
    handlers.before_commit(OrderCanceled, release_stock)


def _change(event: object, uow: UnitOfWork, *, sign: int) -> None:
    assert isinstance(event, OrderPlaced | OrderCanceled)
    stock = uow.repository(Stock)
    for line in event.lines:
        stock.change(line.product_id, sign * line.quantity)
