"""Projections: where they stand and how fast they move; rebuild, verify, roll back.

Charts are of what this process has seen while somebody looked: the last five minutes at most.
"""

from collections import deque
from time import time
from typing import Any

from fastapi import Request
from nicegui import ui
from prometheus_client.parser import text_string_to_metric_families
from starlette.responses import Response

from console import charts
from console.desk import SAMPLES, Desk, label_of, rates
from console.errors import Refused
from console.formatting import UNKNOWN, duration, number
from console.live import View, opened
from console.markup import Safe, badge, table, tag
from console.pages.order import asked_first

_KIND = {"idle": "good", "behind": "info", "building": "info", "stuck": "bad", "stopped": "bad"}
_LOOK_SECONDS = 1.0
_METRIC = "readside_commit_to_visible_seconds_bucket"


def install(desk: Desk) -> None:
    """Register the page."""

    @ui.page("/projections", response_timeout=12)
    async def page(request: Request) -> Response | None:
        view = await opened(desk, request, "projections")
        if isinstance(view, Response):
            return view
        await _build(view)
        view.start()
        return None


async def _build(view: View) -> None:
    progress, listed = view.region(role="status"), view.region()
    with ui.element("div").classes("two"):
        shown = [_chart(view, "chart.rate"), _chart(view, "chart.lag")]
    commands = view.region()
    offered: str = ""

    async def refresh() -> None:
        nonlocal offered
        items = await view.desk.projections(view.session)
        told = await _told(view, items) if view.session.has("operator") else {}
        percentiles = quantiles(await view.desk.apis.metrics("projector"))
        view.show(listed, _listed(view, items, told, percentiles))
        view.show(progress, _progress(view, told))
        for chart, series in zip(shown, _series(view, items), strict=True):
            chart.options.update(charts.minutes(series))
        # Replaced only where what is offered changes: nobody's confirmation is taken away.
        wanted = _commands(view, told)
        if wanted != offered:
            offered = wanted
            view.show(commands, wanted)

    await view.attempt(refresh)
    view.every(_LOOK_SECONDS, refresh)


def _chart(view: View, key: str) -> ui.echart:
    with ui.element("section").classes("card"):
        ui.html(tag("h2", view.t(key)), sanitize=False)
        return ui.echart(charts.minutes({})).classes("chart").props(f'role=img aria-label="{view.t(key)}"')


async def _told(view: View, items: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """What the projector says of each: its entry in the registry, and what goes on."""
    found = {}
    for name in sorted({item["name"] for item in items}):
        try:
            found[name] = await view.get("projector", f"/projections/{name}")
        except Refused as error:
            if error.status != 404:
                raise
    return found


def _listed(
    view: View,
    items: list[dict[str, Any]],
    told: dict[str, dict[str, Any]],
    percentiles: dict[str, tuple[float | None, float | None]],
) -> Safe:
    headings = ["projection", "state", "health", "owner", "head", "checkpoint", "lag", "rate", "parked_count"]
    rows = []
    for item in items:
        series = rates(view.desk.samples[label_of(item)])
        owner = told.get(item["name"], {}).get("owners", {}).get(item["state"])
        half, most = percentiles.get(item["name"], (None, None))
        rows.append(
            (
                Safe(f"{tag('b', item['name'])} {tag('span', 'v', item['version'], class_='dim')}"),
                item["state"],
                badge(item["health"], _KIND.get(item["health"], "")),
                UNKNOWN if owner is None else f"{owner['pid']} · {owner['epoch']}",
                number(item["head"]),
                number(item["position"]),
                f"{number(item['lag_events'])} · {duration(item['lag_seconds'], view.language)}",
                number(series[-1][1], 1) if series else UNKNOWN,
                number(item["parked_sequences"]),
                f"{_within(view, half)} · {_within(view, most)}",
            )
        )
    shown = table(
        view.t("projections"), [*(view.t(one) for one in headings), "p50 · p99"], rows, numeric=(4, 5, 6, 7, 8, 9)
    )
    hint = tag("p", "p50 · p99: ", view.t("commit_to_visible"), class_="dim")
    return tag("section", shown, hint, class_="card")


def _within(view: View, bound: float | None) -> str:
    return UNKNOWN if bound is None else f"≤ {duration(bound, view.language)}"


def _progress(view: View, told: dict[str, dict[str, Any]]) -> Safe:
    shown = []
    if told and not any(one["building"] for one in told.values()):
        # Not where nothing is told: the samples are everybody's, and who is no operator sees no rebuild.
        view.desk.building.clear()
    for name, one in told.items():
        if one["building"]:
            position, head = one["progress"]["position"], max(one["progress"]["head"], 1)
            left = _left(view, one["building"], position, head)
            facts = {"instance": one["building"], "position": number(position), "head": number(head), "left": left}
            bar = tag("progress", value=position, max=head, aria_label=one["building"])
            shown.append(tag("p", bar, " ", view.t("building", **facts), class_="notice"))
        elif one["comparison"]:
            facts = {
                "instance": one["active"],
                "documents": number(one["comparison"].get("documents", 0)),
                "different": number(one["comparison"].get("different", 0)),
            }
            shown.append(tag("p", view.t("built", **facts), class_="notice"))
        if verification := one["verification"]:
            shown.append(_verification(view, name, verification))
    return Safe("".join(shown))


def _left(view: View, instance: str, position: int, head: int) -> str:
    samples = view.desk.building.setdefault(instance, deque(maxlen=SAMPLES))
    samples.append((time(), position, 0.0))
    series = rates(samples)
    rate = series[-1][1] if series else 0.0
    return duration((head - position) / rate, view.language) if rate > 0 else UNKNOWN


def _verification(view: View, name: str, told: dict[str, Any]) -> Safe:
    if told["state"] == "running":
        return tag("p", view.t("verifying", name=name), class_="notice")
    if told["state"] == "failed":
        return tag("p", view.t("verify_failed", name=name, error=told["error"]), class_="notice bad")
    facts = {one: number(told[one]) for one in ("documents", "position", "differences")}
    kind = "notice bad" if told["differences"] else "notice"
    return tag("p", view.t("verified", name=name, **facts), class_=kind)


def _series(view: View, items: list[dict[str, Any]]) -> tuple[dict[str, Any], dict[str, Any]]:
    throughput, lag = {}, {}
    for item in items:
        label = label_of(item)
        samples = view.desk.samples[label]
        throughput[label] = [(at * 1000, round(rate, 2)) for at, rate in rates(samples)]
        lag[label] = [(at * 1000, seconds) for at, _, seconds in samples]
    return throughput, lag


def _commands(view: View, told: dict[str, dict[str, Any]]) -> Safe:
    shown = []
    for name, one in told.items():
        ways = []
        if not one["building"] and not one["previous"]:
            says = view.t("rebuild_says", name=name)
            ways.append(asked_first(view.t("rebuild"), says, method="post", action=f"/projections/{name}/rebuild"))
        if one["previous"] and not one["building"]:
            says = view.t("rollback_says", name=name, previous=one["previous"])
            ways.append(asked_first(view.t("rollback"), says, method="post", action=f"/projections/{name}/rollback"))
        says = view.t("verify_says", name=name)
        ways.append(asked_first(view.t("verify"), says, method="post", action=f"/projections/{name}/verify"))
        shown.append(tag("li", tag("b", name), tag("span", *ways, class_="commands")))
    return tag("ul", *shown, class_="card operations") if shown else Safe("")


def quantiles(metrics: str) -> dict[str, tuple[float | None, float | None]]:
    """The bounds below which half, and 99 of 100, events became visible, by projection; in seconds."""
    buckets: dict[str, list[tuple[float, float]]] = {}
    wanted = [line for line in metrics.splitlines() if line.startswith(_METRIC)]
    text = "# TYPE readside_commit_to_visible_seconds histogram\n" + "\n".join(wanted) + "\n"
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            bound = (float(sample.labels["le"]), sample.value)
            buckets.setdefault(sample.labels["projection"], []).append(bound)
    return {name: (_bound(found, 0.5), _bound(found, 0.99)) for name, found in buckets.items()}


def _bound(buckets: list[tuple[float, float]], share: float) -> float | None:
    whole = max([count for _, count in buckets], default=0)
    found = next((bound for bound, count in sorted(buckets) if whole and count >= share * whole), None)
    return found if found is not None and found != float("inf") else None
