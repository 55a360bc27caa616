"""One order: its state and timeline, live, and beside it the events that it was made from."""

from collections.abc import Sequence
from secrets import token_urlsafe
from typing import Any

from fastapi import Request
from nicegui import ui
from starlette.responses import Response

from console import scopes
from console.desk import Desk
from console.errors import Refused
from console.formatting import duration, money, number, seconds_between
from console.live import View, opened
from console.markup import Safe, badge, field, table, tag
from console.pages.orders import KIND
from console.sse import Told
from runtime.clock import now

_MOST_EVENTS = 200


def install(desk: Desk) -> None:
    """Register the page."""

    @ui.page("/orders/{order_id}", response_timeout=12)
    async def page(request: Request, order_id: str) -> Response | None:
        view = await opened(desk, request, "orders")
        if isinstance(view, Response):
            return view
        await _build(view, order_id)
        view.start()
        return None


async def _build(view: View, order_id: str) -> None:
    with ui.element("div").classes("detail"):
        with ui.element("div"):
            shown, commands = view.region(), view.region()
        beside = view.region()
    offered: list[str] | None = None
    seen = 0

    async def events() -> None:
        if view.session.has("operator"):
            asked: dict[str, str | int | None] = {
                "aggregate_type": "order",
                "aggregate_id": order_id,
                "limit": _MOST_EVENTS,
            }
            found = await view.get("command", "/events", asked)
            for event in found:
                if seen and event["aggregateversion"] > seen_before:
                    seconds = seconds_between(event["time"], arrived)
                    view.desk.measure(order_id, event["aggregateversion"], seconds)
            view.show(beside, _events(view, order_id, found))

    def show(order: dict[str, Any]) -> None:
        nonlocal offered
        view.show(shown, _detail(view, order))
        if (now_offered := scopes.order_actions(view.session, order)) != offered:
            # Only then: a form that somebody is filling in must not be taken away.
            offered = now_offered
            view.show(commands, _commands(view, order_id, now_offered))

    seen_before, arrived = 0, now()

    async def changed(told: Told) -> None:
        nonlocal seen, seen_before, arrived
        if told.name != "order":
            return
        # Of what was there before this page looked, nobody knows when it became visible.
        seen_before, arrived = seen or told.data["version"], now()
        seen = told.data["version"]
        show(told.data)
        await events()

    async def first() -> None:
        nonlocal seen, seen_before
        try:
            order = await view.get("query", f"/orders/{order_id}")
        except Refused as error:
            if error.status not in (404, 422):
                raise
            view.show(shown, tag("p", view.t("not_found"), class_="notice"))
            return
        seen = seen_before = order["version"]
        show(order)
        await events()
        view.follow("query", f"/orders/{order_id}/stream", None, changed)

    await view.first(first)


def _detail(view: View, order: dict[str, Any]) -> Safe:
    currency = order["currency"]
    title = tag(
        "h2",
        tag("span", order["order_id"], class_="id"),
        " ",
        badge(view.t(order["status"]), KIND.get(order["status"], "")),
    )
    facts: dict[str, object] = {
        view.t("member"): order["orderer"]["name"],
        view.t("placed_at"): view.when(order["placed_at"]),
        view.t("total"): money(order["total_amount"], currency),
        view.t("discount"): money(order["discount_amount"], currency),
        view.t("points"): money(order["points_used"], currency),
        view.t("to_pay"): money(order["payment_amount"], currency),
        view.t("version"): number(order["version"]),
    }
    if payment := order["payment"]:
        facts[view.t("payment")] = f"{payment['method']} · {payment['status']}" + (
            f" · {payment['decline_reason']}" if payment["decline_reason"] else ""
        )
    if shipment := order["shipment"]:
        facts[view.t("shipping")] = f"{shipment['carrier']} {shipment['tracking_number']}"
    if canceled := order["cancellation"]:
        facts[view.t("canceled")] = canceled["reason"]
    pairs = [tag("div", tag("dt", name), tag("dd", value)) for name, value in facts.items()]
    lines = [
        (line["name"], number(line["quantity"]), money(line["unit_price"], currency), money(line["amount"], currency))
        for line in order["lines"]
    ]
    headings = [view.t("product"), view.t("units"), view.t("price"), view.t("amount")]
    steps = [
        tag("li", tag("b", step["event"]), " ", tag("span", view.when(step["at"]), class_="dim"))
        for step in order["timeline"]
    ]  # fmt: skip
    return Safe(
        tag("section", title, tag("dl", *pairs, class_="facts"), class_="card")
        + tag("section", tag("h2", view.t("lines")), table(view.t("lines"), headings, lines, (1, 2, 3)), class_="card")
        + tag("section", tag("h2", view.t("timeline")), tag("ol", *steps, class_="timeline"), class_="card")
    )


def _commands(view: View, order_id: str, offered: Sequence[str]) -> Safe:
    shown = []
    for action in offered:
        key = tag("input", type="hidden", name="key", value=token_urlsafe(16))
        target = {"method": "post", "action": f"/orders/{order_id}/{action}"}
        label = view.t(f"action.{action}")
        if action == "ship":
            inputs = (
                field(view.t("carrier"), "carrier", required=True),
                field(view.t("tracking"), "tracking_number", required=True),
            )
            shown.append(asked_first(label, view.t("ship_says"), *inputs, key, **target))
        elif action == "cancel":
            reason = field(view.t("reason"), "reason", required=True)
            shown.append(asked_first(label, view.t("cancel_says"), reason, key, **target))
        else:
            shown.append(tag("form", key, tag("button", label, class_="primary"), **target))
    return tag("div", *shown, class_="commands") if shown else Safe("")


def asked_first(label: str, says: str, *inputs: Safe, **target: str) -> Safe:
    """A command behind a confirmation that says what will happen."""
    confirm = tag("button", label.rstrip("…"), class_="primary")
    form = tag("form", tag("p", says), *inputs, confirm, **target)
    return tag("details", tag("summary", label), form, class_="menu")


def _events(view: View, order_id: str, found: list[dict[str, Any]]) -> Safe:
    rows = [
        (
            number(event["position"]),
            event["type"],
            number(event["aggregateversion"]),
            view.when(event["time"]),
            duration(view.desk.measured(order_id, event["aggregateversion"]), view.language),
        )
        for event in found
    ]
    headings = [view.t(one) for one in ("position", "event", "version", "time", "visible")]
    shown = table(view.t("its_events"), headings, rows, (2, 4))
    hint = tag("p", view.t("visible_hint"), class_="dim")
    return tag("section", tag("h2", view.t("its_events")), shown, hint, class_="card")
