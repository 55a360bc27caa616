"""Events: the log as it grows, with filters; older ones by position."""

from collections import deque
from typing import Any

import msgspec
from fastapi import Request
from nicegui import ui
from starlette.responses import Response

from console.desk import Desk
from console.formatting import number
from console.live import View, opened
from console.markup import Safe, field, link, table, tag
from console.pages.orders import short
from console.sse import Told

_SHOWN = 100
_WINDOW, _WINDOW_FILTERED = 100, 1_000
"""How many positions back a page begins; with a filter further, because most are not shown."""


def install(desk: Desk) -> None:
    """Register the page."""

    @ui.page("/events", response_timeout=12)
    async def page(
        request: Request, aggregate_type: str = "", aggregate_id: str = "", event_type: str = "", before: str = ""
    ) -> Response | None:
        view = await opened(desk, request, "events")
        if isinstance(view, Response):
            return view
        asked = {"aggregate_type": aggregate_type, "aggregate_id": aggregate_id, "event_type": event_type}
        await _build(view, asked, int(before) if before.isascii() and before.isdigit() else None)
        view.start()
        return None


async def _build(view: View, asked: dict[str, str], before: int | None) -> None:
    ui.html(_filters(view, asked), sanitize=False)
    region = view.region()
    recent: deque[dict[str, Any]] = deque(maxlen=_SHOWN)
    begins = 0

    async def first() -> None:
        nonlocal begins
        items = await view.desk.projections(view.session)
        head = max([item["head"] for item in items], default=0) if before is None else before - 1
        begins = 0 if asked["aggregate_id"] else max(0, head - (_WINDOW_FILTERED if any(asked.values()) else _WINDOW))
        found = await view.get("command", "/events", {**asked, "after": begins, "limit": 1_000})
        recent.extend(event for event in found if before is None or event["position"] < before)
        view.show(region, _listed(view, recent, asked, begins))
        if before is None:
            start = max(head, recent[-1]["position"] if recent else 0)
            view.follow("command", "/events/stream", {**asked, "after": start}, came, is_state=False)

    async def came(told: Told) -> None:
        if not recent or told.data["position"] > recent[-1]["position"]:
            recent.append(told.data)
            view.show(region, _listed(view, recent, asked, begins))

    await view.first(first)


def _filters(view: View, asked: dict[str, str]) -> Safe:
    return tag(
        "form",
        field(view.t("type"), "event_type", asked["event_type"], placeholder="OrderPlaced"),
        field(view.t("aggregate_type"), "aggregate_type", asked["aggregate_type"], placeholder="order"),
        field(view.t("aggregate_id"), "aggregate_id", asked["aggregate_id"]),
        tag("button", view.t("search")),
        tag("span", view.t("live"), class_="livedot"),
        method="get",
        action="/events",
        class_="filters",
        role="search",
    )


def _listed(view: View, recent: "deque[dict[str, Any]]", asked: dict[str, str], begins: int) -> Safe:
    headings = [view.t(one) for one in ("position", "type", "aggregate", "version", "time", "summary")]
    rows = [_row(view, event) for event in reversed(recent)]
    shown = table(view.t("events"), headings, rows, (3,)) if rows else tag("p", view.t("nothing"), class_="dim")
    older = ""
    if begins > 0 or (recent and recent[0]["position"] > 1 and not asked["aggregate_id"]):
        before = recent[0]["position"] if recent else begins + 1
        older = tag("p", link(view.t("older"), "/events", {**asked, "before": before}), class_="pages")
    return tag("section", shown, older, class_="card")


def _row(view: View, event: dict[str, Any]) -> list[object]:
    identity, data = event["aggregateid"], msgspec.json.encode(event["data"]).decode()
    path = f"/orders/{identity}" if event["aggregatetype"] == "order" and view.session.has("staff") else "/events"
    asked = {} if path != "/events" else {"aggregate_type": event["aggregatetype"], "aggregate_id": identity}
    return [
        number(event["position"]),
        event["type"],
        Safe(f"{tag('span', event['aggregatetype'], class_='dim')} {link(short(identity), path, asked, class_='id')}"),
        number(event["aggregateversion"]),
        view.when(event["time"]),
        tag("code", data[:300], class_="data", title=data[:4_000]),
    ]
