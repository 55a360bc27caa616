"""Dead letters: what could not take effect, why, and what was done about it by whom."""

from secrets import token_urlsafe
from typing import Any

import msgspec
from fastapi import Request
from nicegui import ui
from starlette.responses import Response

from console.desk import Desk
from console.errors import Refused
from console.formatting import number
from console.live import View, opened
from console.markup import Safe, badge, choice, field, link, table, tag
from console.pages.order import asked_first
from console.pages.orders import short

STATES = ("failed", "waiting", "retry-requested", "discard-requested", "discarded")
_KIND = {"failed": "bad", "waiting": "warn", "resolved": "good", "discarded": "off"}
_PAGE = 50
_LOOK_SECONDS = 1.0


def install(desk: Desk) -> None:
    """Register the list and the page of one."""

    @ui.page("/dead-letters", response_timeout=12)
    async def page(
        request: Request, projection: str = "", state: str = "", aggregate_id: str = "", cursor: str = ""
    ) -> Response | None:
        view = await opened(desk, request, "letters")
        if isinstance(view, Response):
            return view
        asked = {"projection": projection, "state": state, "aggregate_id": aggregate_id}
        await _build(view, asked, cursor)
        view.start()
        return None

    @ui.page("/dead-letters/{letter_id}", response_timeout=12)
    async def letter(request: Request, letter_id: str) -> Response | None:
        view = await opened(desk, request, "letters")
        if isinstance(view, Response):
            return view
        await _build_one(view, letter_id)
        view.start()
        return None


async def _build(view: View, asked: dict[str, str], cursor: str) -> None:
    states = [("", view.t("only_open")), *((one, one) for one in STATES)]
    ui.html(
        tag(
            "form",
            field(view.t("projection"), "projection", asked["projection"]),
            choice(view.t("state"), "state", states, asked["state"]),
            field(view.t("aggregate_id"), "aggregate_id", asked["aggregate_id"]),
            tag("button", view.t("search")),
            method="get",
            action="/dead-letters",
            class_="filters",
            role="search",
        ),
        sanitize=False,
    )
    region, commands = view.region(), view.region()

    async def refresh() -> None:
        answer = await view.get("projector", "/dead-letters", {**asked, "limit": _PAGE, "cursor": cursor})
        view.show(region, _listed(view, answer, asked))
        retry = asked_first(view.t("retry_all"), view.t("retry_all_says"), method="post", action="/dead-letters/retry")
        view.show(commands, tag("div", retry, class_="commands") if answer["items"] else "")

    await view.attempt(refresh)
    view.every(_LOOK_SECONDS, refresh)


def _listed(view: View, answer: dict[str, Any], asked: dict[str, str]) -> Safe:
    headings = [
        view.t(one)
        for one in ("position", "projection", "event", "aggregate", "state", "error", "attempts", "failed_at")
    ]
    rows = [
        (
            link(number(one["position"]), f"/dead-letters/{one['id']}"),
            one["projection"],
            one["event_type"],
            tag("span", short(one["aggregate_id"]), class_="id", title=one["aggregate_id"]),
            badge(one["state"], _KIND.get(one["state"], "info")),
            tag("span", one["error"], class_="error"),
            number(one["attempts"]),
            view.when(one["last_failed_at"]),
        )
        for one in answer["items"]
    ]
    shown = table(view.t("letters"), headings, rows, (6,)) if rows else tag("p", view.t("nothing"), class_="dim")
    following = answer["next_cursor"]
    more = tag("p", link(view.t("older"), "/dead-letters", {**asked, "cursor": following}), class_="pages")
    return tag("section", shown, more if following else "", class_="card")


async def _build_one(view: View, letter_id: str) -> None:
    shown, commands = view.region(), view.region()

    async def refresh() -> None:
        try:
            letter = await view.get("projector", f"/dead-letters/{letter_id}")
        except Refused as error:
            view.show(shown, tag("p", error.detail, class_="notice"))
            return
        view.show(shown, _one(view, letter))
        still_open = letter["state"] not in ("resolved", "discarded")
        if still_open != bool(commands.content):
            view.show(commands, _commands(view, letter_id) if still_open else "")

    await view.attempt(refresh)
    view.every(_LOOK_SECONDS, refresh)


def _commands(view: View, letter_id: str) -> Safe:
    key = tag("input", type="hidden", name="key", value=token_urlsafe(16))
    path = f"/dead-letters/{letter_id}"
    retry = tag("form", key, tag("button", view.t("retry"), class_="primary"), method="post", action=f"{path}/retry")
    reason = field(view.t("reason"), "reason", required=True, maxlength=1000)
    discard = asked_first(
        view.t("discard"), view.t("discard_says"), reason, key, method="post", action=f"{path}/discard"
    )
    return tag("div", retry, discard, class_="commands")


def _one(view: View, letter: dict[str, Any]) -> Safe:
    state = badge(letter["state"], _KIND.get(letter["state"], "info"))
    facts = {
        view.t("projection"): letter["projection"],
        view.t("aggregate"): f"{letter['aggregate_type']} {letter['aggregate_id']}",
        view.t("position"): number(letter["position"]),
        view.t("attempts"): number(letter["attempts"]),
        view.t("failed_at"): view.when(letter["last_failed_at"]),
        view.t("error"): letter["error"],
    }
    pairs = [tag("div", tag("dt", name), tag("dd", value)) for name, value in facts.items()]
    headings = [view.t("time"), view.t("member"), view.t("event"), view.t("reason"), view.t("error")]
    history = [
        (
            view.when(one["at"]),
            one["by"],
            one["what"],
            one.get("reason") or "",
            one.get("error") or "",
        )
        for one in letter["history"]
    ]
    payload = msgspec.json.format(msgspec.json.encode(letter["payload"])).decode()

    def block(heading: str, content: str) -> Safe:
        return tag("section", tag("h2", heading), tag("pre", content, tabindex="0", aria_label=heading), class_="card")

    return Safe(
        tag("section", tag("h2", letter["event_type"], " ", state), tag("dl", *pairs, class_="facts"), class_="card")
        + tag("section", tag("h2", view.t("history")), table(view.t("history"), headings, history), class_="card")
        + tag("div", block(view.t("payload"), payload), block(view.t("traceback"), letter["traceback"]), class_="two")
    )
