"""Sales: today and a range, best sellers and categories; they move as orders come in.

The numbers are those of the query API, unchanged. One stream tells that something moved, then all of it is asked anew:
each answer is bounded by the range.
"""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

from fastapi import Request
from nicegui import ui
from starlette.responses import Response

from console import charts
from console.desk import Desk
from console.formatting import major, money, number
from console.live import View, opened
from console.markup import Safe, field, link, table, tag
from console.sse import Told

STREAM = "/statistics/sales/stream"
LONGEST_DAYS = 3 * 366
_BY_DAY_UP_TO = 92
_PAUSE_SECONDS = 0.25


def install(desk: Desk) -> None:
    """Register the page."""

    @ui.page("/sales", response_timeout=12)
    async def page(request: Request, first: str = "", last: str = "") -> Response | None:
        view = await opened(desk, request, "sales")
        if isinstance(view, Response):
            return view
        await _build(view, *days(first, last, datetime.now(desk.zone).date()))
        view.start()
        return None


def days(first: str, last: str, today: date) -> tuple[str | None, str | None]:
    """The range that was asked for, mended: at most three years; without one none, which is the last 30 days."""
    try:
        end = date.fromisoformat(last) if last else today
        start = date.fromisoformat(first) if first else end - timedelta(days=29)
    except ValueError:
        return None, None
    if not first and not last:
        return None, None
    start, end = min(start, end), max(start, end)
    return max(start, end - timedelta(days=LONGEST_DAYS - 1)).isoformat(), end.isoformat()


async def _build(view: View, first: str | None, last: str | None) -> None:
    today = datetime.now(view.desk.zone).date()
    asked = {"from": first, "to": last}
    ui.html(_filters(view, first, last, today), sanitize=False)
    tiles = view.region(class_="tiles")
    chart = ui.echart(charts.sales([], [], [], (view.t("net"), view.t("canceled")))).classes("chart")
    chart.props(f'role=img aria-label="{view.t("chart.sales")}"')
    with ui.element("div").classes("two"):
        sellers, categories = view.region(), view.region()

    async def refresh() -> None:
        day = datetime.now(view.desk.zone).date().isoformat()
        granularity = granularity_of(first, last)
        now, range_, best, by_category = await asyncio.gather(
            view.get("query", "/statistics/sales", {"from": day, "to": day}),
            view.get("query", "/statistics/sales", {**asked, "granularity": granularity}),
            view.get("query", "/statistics/products", {**asked, "limit": 10}),
            view.get("query", "/statistics/sales", {**asked, "granularity": "month", "group_by": "category"}),
        )
        label = view.t("days30") if first is None else f"{first} – {last}"
        view.show(tiles, _tiles(view, view.t("today"), now) + _tiles(view, label, range_))
        view.show(sellers, _sellers(view, best))
        view.show(categories, _categories(view, by_category))
        shown = _chart(view, range_, granularity)
        if shown != chart.options:
            chart.options.clear()
            chart.options.update(shown)

    async def moved(_: Told) -> None:
        await refresh()
        await asyncio.sleep(_PAUSE_SECONDS)

    await view.attempt(refresh)
    view.follow("query", STREAM, None, moved)


def granularity_of(first: str | None, last: str | None) -> str:
    """Bars that are neither too few nor too many."""
    if first is None or last is None:
        return "day"
    span = (date.fromisoformat(last) - date.fromisoformat(first)).days + 1
    if span == 1:
        return "hour"
    return "day" if span <= _BY_DAY_UP_TO else "month"


def _filters(view: View, first: str | None, last: str | None, today: date) -> Safe:
    quick = [(view.t("today"), 1), (view.t("days7"), 7), (view.t("days30"), 30)]
    links = [
        link(label, "/sales", {"first": (today - timedelta(days=length - 1)).isoformat(), "last": today.isoformat()})
        for label, length in quick
    ]
    start = first or (today - timedelta(days=29)).isoformat()
    return tag(
        "form",
        field(view.t("from"), "first", start, "date"),
        field(view.t("to"), "last", last or today.isoformat(), "date"),
        tag("button", view.t("show")),
        tag("span", *links, class_="quick"),
        tag("span", view.t("live"), class_="livedot"),
        method="get",
        action="/sales",
        class_="filters",
    )


def _tiles(view: View, heading: str, answer: dict[str, Any]) -> Safe:
    totals, currency = answer["totals"], answer["currency"]
    shown = {
        view.t("orders"): number(totals["placed_orders"]),
        view.t("paid"): number(totals["paid_orders"]),
        view.t("gross"): money(totals["gross_sales"], currency),
        view.t("canceled"): money(totals["canceled_amount"], currency),
        view.t("net"): money(totals["net_sales"], currency),
    }
    pairs = [tag("div", tag("dt", name), tag("dd", value)) for name, value in shown.items()]
    return tag("section", tag("h2", heading), tag("dl", *pairs, class_="tile"), class_="card")


def _sellers(view: View, answer: dict[str, Any]) -> Safe:
    rows = [(one["name"] or one["product_id"], one["units"], one["net_sales"]) for one in answer["items"]]
    return _ranked(view, view.t("best"), view.t("product"), rows, answer["currency"])


def _categories(view: View, answer: dict[str, Any]) -> Safe:
    sums: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for row in answer["rows"]:
        sums[row["key"]][0] += row["units"]
        sums[row["key"]][1] += row["net_sales"]
    rows = sorted([(name, units, net) for name, (units, net) in sums.items()], key=lambda row: (-row[2], row[0]))
    return _ranked(view, view.t("categories"), view.t("category"), rows[:12], answer["currency"])


def _ranked(view: View, heading: str, first: str, rows: Sequence[tuple[str, int, int]], currency: str) -> Safe:
    most = max([row[2] for row in rows], default=0) or 1
    cells = [
        (
            tag(
                "span", name, tag("i", style=f"width:{max(0, net) * 100 / most:.1f}%", aria_hidden="true"), class_="bar"
            ),
            number(units),
            money(net, currency),
        )
        for name, units, net in rows
    ]
    shown = table(heading, [first, view.t("units"), view.t("net")], cells, numeric=(1, 2))
    return tag(
        "section", tag("h2", heading), shown if rows else tag("p", view.t("nothing"), class_="dim"), class_="card"
    )


def _chart(view: View, answer: dict[str, Any], granularity: str) -> dict[str, Any]:
    rows, currency = {row["period"]: row for row in answer["rows"]}, answer["currency"]
    periods = _periods(sorted(rows), granularity)
    net = [major(rows[one]["net_sales"], currency) if one in rows else 0.0 for one in periods]
    canceled = [major(rows[one]["canceled_amount"], currency) if one in rows else 0.0 for one in periods]
    labels = [one[11:] if granularity == "hour" else one[5:] if granularity == "day" else one for one in periods]
    return charts.sales(labels, net, canceled, (view.t("net"), view.t("canceled")))


def _periods(known: Sequence[str], granularity: str) -> list[str]:
    """Those between too, where nothing was sold."""
    if not known or granularity == "month":
        return list(known)
    step, form = (timedelta(hours=1), "%Y-%m-%dT%H:00") if granularity == "hour" else (timedelta(days=1), "%Y-%m-%d")
    at, end, found = datetime.fromisoformat(known[0]), datetime.fromisoformat(known[-1]), []
    while at <= end:
        found.append(at.strftime(form))
        at += step
    return found
