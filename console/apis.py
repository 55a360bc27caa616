"""Calls of the three APIs, each with the token of a session.

No proxy from the environment, no redirects: a token goes to the API that the settings name, and nowhere else.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Literal

import httpx
import msgspec

from console.errors import NotSignedIn, Refused, Unreachable
from console.sessions import Session
from console.sse import Told, told
from runtime.settings import Settings

Api = Literal["command", "query", "projector"]
APIS: tuple[Api, ...] = ("command", "query", "projector")
_TIMEOUT = httpx.Timeout(10.0, connect=2.0)
_HEARTBEAT_SECONDS = 45.0
"""A stream that says nothing for three of its heartbeats is dead."""
MOST_CONNECTIONS = 200
MOST_STREAMS = 150
"""Fewer than connections, so that streams never starve the calls."""

Parameters = Mapping[str, str | int | None]


class Apis:
    """One pool of connections for everybody who is signed in; `close` it."""

    def __init__(self, settings: Settings) -> None:
        self._urls: dict[Api, str] = {
            "command": settings.command_url,
            "query": settings.query_url,
            "projector": settings.projector_url,
        }
        limits = httpx.Limits(max_connections=MOST_CONNECTIONS, max_keepalive_connections=20)
        self._client = httpx.AsyncClient(
            timeout=_TIMEOUT, limits=limits, follow_redirects=False, trust_env=False, headers={"User-Agent": "console"}
        )

    async def close(self) -> None:
        """Let every connection go."""
        await self._client.aclose()

    async def ready(self, api: Api) -> None:
        """Raises `Unreachable` unless this API says that it is ready."""
        answer = await self._send(api, "GET", "/readyz", {}, {}, None)
        if answer.status_code != 200:
            raise Unreachable(api)

    async def get(self, session: Session, api: Api, path: str, parameters: Parameters | None = None) -> Any:
        """The decoded answer. Raises `NotSignedIn`, `Refused` or `Unreachable`."""
        asked = {name: value for name, value in (parameters or {}).items() if value not in (None, "")}
        return _decoded(api, await self._send(api, "GET", path, _bearer(session), asked, None))

    async def post(self, session: Session, api: Api, path: str, body: Any, *, key: str) -> Any:
        """As `get`, for what changes something; ``key`` makes it safe to send twice."""
        headers = _bearer(session) | {"Idempotency-Key": key}
        return _decoded(api, await self._send(api, "POST", path, headers, {}, body))

    async def token_of(self, email: str, password: str) -> str:
        """A token for a member's password. Raises `NotSignedIn` where it is wrong."""
        form = {"username": email, "password": password}
        try:
            answer = await self._client.post(f"{self._urls['command']}/token", data=form)
        except httpx.HTTPError:
            raise Unreachable("command") from None
        if answer.status_code in (400, 422):
            raise NotSignedIn("wrong e-mail address or password")
        return str(_decoded("command", answer)["access_token"])

    async def metrics(self, api: Api) -> str:
        """What Prometheus would be told."""
        return (await self._send(api, "GET", "/metrics", {}, {}, None)).text

    @asynccontextmanager
    async def stream(
        self, session: Session, api: Api, path: str, parameters: Parameters, last_event_id: str
    ) -> AsyncIterator[AsyncIterator[Told]]:
        """Server-sent events until the stream ends. Raises as `get` does, at any time."""
        headers = _bearer(session) | ({"Last-Event-ID": last_event_id} if last_event_id else {})
        timeout = httpx.Timeout(10.0, connect=2.0, read=_HEARTBEAT_SECONDS)
        url = self._urls[api] + path
        try:
            async with self._client.stream(
                "GET", url, params=dict(parameters), headers=headers, timeout=timeout
            ) as answer:
                if answer.status_code != 200:
                    await answer.aread()
                    _decoded(api, answer)
                yield told(answer.aiter_lines())
        except httpx.HTTPError:
            raise Unreachable(api) from None

    async def _send(
        self, api: Api, method: str, path: str, headers: dict[str, str], parameters: Parameters, body: Any
    ) -> httpx.Response:
        content = None if body is None else msgspec.json.encode(body)
        more = {} if body is None else {"Content-Type": "application/json"}
        try:
            return await self._client.request(
                method, self._urls[api] + path, headers=headers | more, params=dict(parameters), content=content
            )
        except httpx.HTTPError:
            raise Unreachable(api) from None


def _bearer(session: Session) -> dict[str, str]:
    if not session.is_valid:
        raise NotSignedIn("signed out")
    return {"Authorization": f"Bearer {session.token}"}


def _decoded(api: Api, answer: httpx.Response) -> Any:
    if answer.status_code == 401:
        raise NotSignedIn("the token is not accepted, or no longer")
    if answer.status_code in (429, 502, 503, 504):
        raise Unreachable(api)
    try:
        body = msgspec.json.decode(answer.content) if answer.content else None
    except msgspec.DecodeError:
        raise Unreachable(api) from None
    if answer.status_code >= 400:
        told = body if isinstance(body, dict) else {}
        slug = str(told.get("type", "")).rpartition("/")[2]
        raise Refused(answer.status_code, slug, str(told.get("detail", f"status {answer.status_code}")))
    return body
