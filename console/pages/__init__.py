"""One module per page: what it asks for, and what it shows of it."""

from console.desk import Desk
from console.pages import events, letters, order, orders, projections, sales


def install_pages(desk: Desk) -> None:
    """Register every page."""
    for page in (sales, orders, order, projections, letters, events):
        page.install(desk)
