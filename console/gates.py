"""Forms: signing in and out, display preferences, and every command. A form of another site is refused."""

import secrets
from urllib.parse import urlsplit

from fastapi import APIRouter, FastAPI, Request
from starlette.datastructures import FormData
from starlette.responses import HTMLResponse, RedirectResponse, Response

from console import frame, scopes
from console.apis import Api
from console.desk import Desk
from console.errors import NotSignedIn, Refused, Unreachable
from console.markup import field, tag
from console.messages import LANGUAGES, say
from console.preferences import LANGUAGE_COOKIE, THEME_COOKIE, THEMES, inside, language, theme
from console.sessions import COOKIE, Session
from runtime.problems import Problem

router = APIRouter(include_in_schema=False)
_YEAR_SECONDS = 365 * 86_400
_ORDER_ACTIONS = frozenset({"ship", "start-delivery", "complete-delivery", "cancel"})
_PROJECTION_ACTIONS = frozenset({"rebuild", "rollback", "verify"})


def install_gates(app: FastAPI, desk: Desk) -> None:
    """Mount them."""
    app.state.desk = desk
    app.include_router(router)


@router.get("/")
async def home(request: Request) -> Response:
    """The first page that the token can fill."""
    session = _session(request)
    offered = scopes.pages(session) if session else []
    return RedirectResponse(frame.PATHS[offered[0]] if offered else "/sign-in", 303)


@router.get("/sign-in")
async def sign_in_page(request: Request, reason: str = "") -> Response:
    """Two forms: a member's password, or a token."""
    spoken, shade = language(request), theme(request)

    def t(key: str) -> str:
        return say(spoken, key)

    known = reason in ("expired", "wrong", "refused", "scopeless", "away", "out")
    told = tag("p", t(f"reason.{reason}"), class_="notice" if reason == "out" else "notice bad", role="alert")
    password = tag(
        "form",
        tag("h2", t("with_password")),
        field(t("email"), "email", kind="email", autocomplete="username", required=True, autofocus=True),
        field(t("password"), "password", kind="password", autocomplete="current-password", required=True),
        tag("button", t("sign_in"), class_="primary"),
        method="post",
        action="/sign-in",
    )
    token = tag(
        "form",
        tag("h2", t("with_token")),
        field(t("token"), "token", kind="password", autocomplete="off", required=True, aria_describedby="hint"),
        tag("p", t("token_hint"), id="hint", class_="dim"),
        tag("button", t("sign_in")),
        method="post",
        action="/sign-in",
    )
    main = tag("main", tag("h1", t("sign_in")), told if known else "", password, token, id="content", class_="narrow")
    page = (
        f'<!doctype html><html lang="{spoken}"><head><meta charset="utf-8"><title>{t("sign_in")} · Readside</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f"{frame.head(shade)}</head><body>{frame.top(spoken, shade, '', None, '/sign-in')}{main}</body></html>"
    )
    return HTMLResponse(page)


@router.post("/sign-in")
async def sign_in(request: Request) -> Response:
    """Begin a session; its cookie names it and says nothing else."""
    form, desk = await _form(request), _desk(request)
    try:
        token = _text(form, "token") or await desk.apis.token_of(_text(form, "email"), _text(form, "password"))
        session = await _accepted(desk, token)
    except NotSignedIn:
        return _to("/sign-in?reason=" + ("refused" if _text(form, "token") else "wrong"))
    except (Unreachable, Refused):
        return _to("/sign-in?reason=away")
    if session is None:
        return _to("/sign-in?reason=scopeless")
    answer = _to("/")
    secure = request.url.scheme == "https"
    answer.set_cookie(COOKIE, session.key, httponly=True, samesite="lax", secure=secure, path="/")
    return answer


@router.post("/sign-out")
async def sign_out(request: Request) -> Response:
    """End the session and what it has open."""
    await _form(request)
    if session := _session(request):
        _desk(request).sessions.end(session)
    answer = _to("/sign-in?reason=out")
    answer.delete_cookie(COOKIE, path="/")
    return answer


@router.post("/preferences")
async def preferences(request: Request) -> Response:
    """Remember language and theme."""
    form = await _form(request)
    answer = _to(inside(_text(form, "next")))
    for name, cookie, known in (("language", LANGUAGE_COOKIE, LANGUAGES), ("theme", THEME_COOKIE, THEMES)):
        if (chosen := _text(form, name)) in known:
            answer.set_cookie(cookie, chosen, max_age=_YEAR_SECONDS, samesite="lax", path="/")
    return answer


@router.post("/orders/{order_id}/{action}")
async def order_command(request: Request, order_id: str, action: str) -> Response:
    """A command of the command API."""
    if action not in _ORDER_ACTIONS:
        raise Problem(404, "not-found", "There is no such command.")
    form = await _form(request)
    wanted = {"ship": ("carrier", "tracking_number"), "cancel": ("reason",)}.get(action, ())
    body = {name: _text(form, name) for name in wanted} if wanted else None
    return await _asked(request, "command", f"/orders/{order_id}/{action}", body, f"/orders/{order_id}", form)


@router.post("/projections/{name}/{action}")
async def projection_command(request: Request, name: str, action: str) -> Response:
    """An operation of the projector."""
    if action not in _PROJECTION_ACTIONS:
        raise Problem(404, "not-found", "There is no such operation.")
    return await _asked(
        request, "projector", f"/projections/{name}/{action}", None, "/projections", await _form(request)
    )


@router.post("/dead-letters/retry")
async def retry_all(request: Request) -> Response:
    """Every open letter."""
    form = await _form(request)
    return await _asked(request, "projector", "/dead-letters/retry", {"all": True}, "/dead-letters", form)


@router.post("/dead-letters/{letter_id}/{action}")
async def letter_command(request: Request, letter_id: str, action: str) -> Response:
    """A retry, or a discard with its reason."""
    if action not in ("retry", "discard"):
        raise Problem(404, "not-found", "There is no such operation.")
    form = await _form(request)
    body = {"reason": _text(form, "reason")} if action == "discard" else None
    back = f"/dead-letters/{letter_id}"
    return await _asked(request, "projector", f"/dead-letters/{letter_id}/{action}", body, back, form)


async def _asked(request: Request, api: Api, path: str, body: object, back: str, form: FormData) -> Response:
    desk, session, spoken = _desk(request), _session(request), language(request)
    if session is None or not session.is_valid:
        return _to("/sign-in?reason=expired")
    try:
        answer = await desk.apis.post(session, api, path, body, key=_text(form, "key") or secrets.token_urlsafe(16))
    except NotSignedIn:
        desk.sessions.end(session)
        return _to("/sign-in?reason=expired")
    except Unreachable as error:
        desk.flash(session, say(spoken, "away", api=error.api))
    except Refused as error:
        desk.flash(session, say(spoken, "refused", detail=error.detail))
    else:
        state = answer.get("state") if isinstance(answer, dict) else None
        desk.flash(session, say(spoken, "became", state=state) if state else say(spoken, "done"))
    return _to(back)


async def _accepted(desk: Desk, token: str) -> Session | None:
    """A session, once an API has taken the token; none for one that opens nothing."""
    try:
        session = desk.sessions.begin(token.strip())
    except ValueError:
        raise NotSignedIn("not a token") from None
    offered = scopes.pages(session)
    probe, parameters = ("/orders", {"limit": 1}) if "orders" in offered else ("/projections", {})
    try:
        if offered:
            await desk.apis.get(session, "query", probe, parameters)
    except Exception:
        desk.sessions.end(session)
        raise
    if not offered:
        desk.sessions.end(session)
        return None
    return session


def _desk(request: Request) -> Desk:
    desk: Desk = request.app.state.desk
    return desk


def _session(request: Request) -> Session | None:
    return _desk(request).sessions.find(request.cookies.get(COOKIE))


async def _form(request: Request) -> FormData:
    """Of a page of this console. Raises a `Problem` for a form of any other."""
    origin = request.headers.get("origin")
    foreign = origin is not None and urlsplit(origin).netloc != request.headers.get("host", "")
    if foreign or request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise Problem(403, "forbidden", "This form is not of this console.")
    return await request.form()


def _text(form: FormData, name: str) -> str:
    value = form.get(name, "")
    return value.strip() if isinstance(value, str) else ""


def _to(path: str) -> RedirectResponse:
    return RedirectResponse(path, 303)
