"""What every answer of every process carries, whatever it says: a request id, and headers that make browsers careful.

A caller's ``X-Request-Id`` is kept where it is fit for logs and headers; any other request gets one. It goes into the
events of a command as their correlation id, and into the log of a crash.
"""

import re
from collections.abc import MutableMapping
from typing import Any

from starlette.types import Message, Scope

from runtime.ids import new_id

_FIT = re.compile(rb"[A-Za-z0-9._~:/+=@-]{1,128}")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")

CAREFUL = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",  # unless the route knows better
}
_NOTHING_TO_RUN = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
"""Of what is no page: a browser that takes it for one runs and loads nothing."""
_CAREFUL_RAW = [(name.lower().encode(), value.encode()) for name, value in CAREFUL.items()]


def identify(scope: Scope) -> str:
    """Give a request its id, which `request_id_of` tells from then on."""
    request_id = _request_id(scope)
    scope.setdefault("state", {})["request_id"] = request_id
    return request_id


def complete_headers(start: Message, request_id: str) -> None:
    """Add what the start of an answer lacks. The crash handler's never comes here: see `answer_headers`."""
    headers = list(start.get("headers", ()))
    given = dict(headers)
    headers.append((b"x-request-id", request_id.encode()))
    headers += [header for header in _CAREFUL_RAW if header[0] not in given]
    if not given.get(b"content-type", b"").startswith(b"text/html"):
        headers.append(_NOTHING_TO_RUN)
    start["headers"] = headers


def answer_headers(scope: MutableMapping[str, Any]) -> dict[str, str]:
    """The same headers, for an answer that is made outside of all middleware."""
    return {"X-Request-Id": request_id_of(scope) or new_id(), **CAREFUL}


def request_id_of(scope: MutableMapping[str, Any]) -> str | None:
    """The id of a request that was given one."""
    found: str | None = scope.get("state", {}).get("request_id")
    return found


def traceparent_of(value: str | None) -> str | None:
    """A W3C ``traceparent``, or nothing where it is none."""
    return value if value is not None and _TRACEPARENT.fullmatch(value) else None


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _FIT.fullmatch(value):
            return str(value.decode())
    return new_id()
