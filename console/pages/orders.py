"""Orders: searched, newest first, by keyset pages. The first page moves as orders come in."""

import asyncio
from typing import Any

from fastapi import Request
from nicegui import ui
from starlette.responses import RedirectResponse, Response

from console.desk import Desk
from console.formatting import money, number
from console.live import View, opened
from console.markup import Safe, badge, choice, field, link, table, tag
from console.pages.sales import STREAM
from console.sse import Told

STATUSES = ("PAYMENT_WAITING", "PREPARING", "SHIPPED", "DELIVERING", "DELIVERY_COMPLETED", "CANCELED")
KIND = {
    "PAYMENT_WAITING": "warn",
    "PREPARING": "info",
    "SHIPPED": "info",
    "DELIVERING": "info",
    "DELIVERY_COMPLETED": "good",
    "CANCELED": "off",
}
_PAGE = 50
_LOOK_SECONDS = 3.0
_SETTLED_SECONDS = 0.3


def install(desk: Desk) -> None:
    """Register the page."""

    @ui.page("/orders", response_timeout=12)
    async def page(
        request: Request,
        order_id: str = "",
        member_id: str = "",
        status: str = "",
        placed_from: str = "",
        placed_to: str = "",
        cursor: str = "",
    ) -> Response | None:
        view = await opened(desk, request, "orders")
        if isinstance(view, Response):
            return view
        if order_id.strip():
            return RedirectResponse(str(request.url.replace(path="/orders/" + order_id.strip(), query="")), 303)
        asked = {"member_id": member_id, "status": status, "placed_from": placed_from, "placed_to": placed_to}
        await _build(view, asked, cursor)
        view.start()
        return None


async def _build(view: View, asked: dict[str, str], cursor: str) -> None:
    ui.html(_filters(view, asked), sanitize=False)
    region = view.region()

    async def refresh() -> None:
        answer = await view.get("query", "/orders", {**asked, "limit": _PAGE, "cursor": cursor})
        view.show(region, listed(view, answer, asked, cursor))

    async def moved(_: Told) -> None:
        await refresh()
        # The statistics may be ahead of the orders by a moment.
        await asyncio.sleep(_SETTLED_SECONDS)
        await refresh()

    await view.attempt(refresh)
    if not cursor:
        if view.session.has("staff"):
            view.follow("query", STREAM, None, moved)
        view.every(_LOOK_SECONDS, refresh)


def _filters(view: View, asked: dict[str, str]) -> Safe:
    statuses = [("", view.t("any")), *((one, view.t(one)) for one in STATUSES)]
    member = field(view.t("member"), "member_id", asked["member_id"]) if view.session.has("staff") else ""
    return tag(
        "form",
        field(view.t("order_id"), "order_id"),
        member,
        choice(view.t("status"), "status", statuses, asked["status"]),
        field(view.t("from"), "placed_from", asked["placed_from"], "date"),
        field(view.t("to"), "placed_to", asked["placed_to"], "date"),
        tag("button", view.t("search")),
        method="get",
        action="/orders",
        class_="filters",
        role="search",
    )


def listed(view: View, answer: dict[str, Any], asked: dict[str, str], cursor: str) -> Safe:
    """A page of orders, with the way to the next."""
    staff = view.session.has("staff")
    rows = [_row(view, order, staff=staff) for order in answer["items"]]
    headings = [view.t(one) for one in ("order", "placed_at", "status", "member", "units", "total")]
    numeric: tuple[int, ...] = (4, 5)
    if not staff:
        headings.pop(3)
        numeric = (3, 4)
    shown = table(view.t("orders"), headings, rows, numeric) if rows else tag("p", view.t("nothing"), class_="dim")
    ways: list[object] = []
    if cursor:
        ways.append(link(view.t("newest"), "/orders", dict(asked)))
    if answer["next_cursor"]:
        ways.append(link(view.t("next"), "/orders", {**asked, "cursor": answer["next_cursor"]}))
    return tag("section", shown, tag("p", *ways, class_="pages") if ways else "", class_="card")


def _row(view: View, order: dict[str, Any], *, staff: bool) -> list[object]:
    member = order["orderer"]
    cells: list[object] = [
        link(short(order["order_id"]), f"/orders/{order['order_id']}", class_="id", title=order["order_id"]),
        view.when(order["placed_at"]),
        badge(view.t(order["status"]), KIND.get(order["status"], "")),
        link(member["name"], "/orders", {"member_id": member["member_id"]}),
        number(order["units"]),
        money(order["total_amount"], order["currency"]),
    ]
    if not staff:
        cells.pop(3)
    return cells


def short(identity: str) -> str:
    """The end of an id: where those of one moment differ."""
    return f"…{identity[-12:]}" if len(identity) > 16 else identity
