"""What is offered to whom. The APIs decide; this only spares people buttons that would be refused."""

from collections.abc import Mapping
from typing import Any

from console.sessions import Session

_PAGES = {
    "sales": ("staff",),
    "orders": ("customer", "staff"),
    "projections": ("staff", "operator"),
    "letters": ("operator",),
    "events": ("operator",),
}


def pages(session: Session) -> list[str]:
    """The pages that this session's token can fill, in the order of the menu."""
    return [page for page, any_of in _PAGES.items() if session.has(*any_of)]


def order_actions(session: Session, order: Mapping[str, Any]) -> list[str]:
    """The commands that this order takes of this session's owner now."""
    if not session.has("customer", "staff") or (order.get("payment") or {}).get("status") == "REQUESTED":
        return []
    status, staff = order["status"], session.has("staff")
    offered = []
    if staff and status == "PREPARING":
        offered.append("ship")
    if staff and status == "SHIPPED":
        offered.append("start-delivery")
    if staff and status == "DELIVERING":
        offered.append("complete-delivery")
    if status in ("PAYMENT_WAITING", "PREPARING"):
        offered.append("cancel")
    return offered
