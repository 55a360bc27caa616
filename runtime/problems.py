"""RFC 9457 problem details: the one shape of every error that either API gives.

Whoever refuses raises `Problem` (or maps a domain error to one in a table at the edge); this module renders it once.
No problem ever shows a stack trace, a query or a secret.
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from runtime.errors import ReadsideError
from runtime.head import has_head
from runtime.headers import answer_headers
from runtime.metrics import PROBLEMS

log = structlog.get_logger()

MEDIA_TYPE = "application/problem+json"

MOST_ERRORS = 50
LONGEST_ECHO = 200

_SLUG_OF_STATUS = {
    400: "bad-request",
    401: "unauthorized",
    403: "forbidden",
    404: "not-found",
    405: "method-not-allowed",
    406: "not-acceptable",
    413: "body-too-large",
    415: "unsupported-media-type",
    422: "invalid-input",
    429: "too-many-requests",
    503: "unavailable",
}


class Problem(ReadsideError):
    """An answer that is an error: its slug, status and a sentence for the caller."""

    def __init__(
        self,
        status: int,
        slug: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        errors: Sequence[Mapping[str, Any]] | None = None,
        **members: Any,
    ) -> None:
        super().__init__(detail)
        self.status, self.slug, self.detail = status, slug, detail
        self.headers = dict(headers or {})
        self.errors = errors
        self.members = members

    def response(self) -> Response:
        """This problem as ``application/problem+json``; it is counted as given."""
        PROBLEMS.labels(self.status, self.slug).inc()
        body: dict[str, Any] = {
            "type": f"/problems/{self.slug}",
            "title": self.slug.replace("-", " ").capitalize(),
            "status": self.status,
            "detail": self.detail,
            **self.members,
        }
        if self.errors is not None:
            body["errors"] = list(self.errors)
        return Response(msgspec.json.encode(body), self.status, self.headers, MEDIA_TYPE)


def invalid_input(*reasons: tuple[Sequence[str | int], str]) -> Problem:
    """422 with one entry of ``errors`` per ``(loc, msg)``."""
    listed = [{"loc": list(loc), "msg": msg} for loc, msg in reasons]
    return Problem(422, "invalid-input", "; ".join(msg for _, msg in reasons) + ".", errors=listed)


def install_problem_handlers(app: FastAPI) -> None:
    """Render every error of this app as a problem."""

    async def problem(_: Request, error: Exception) -> Response:
        assert isinstance(error, Problem)
        return error.response()

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        found = error.errors()
        if any(tuple(entry["loc"]) == ("body",) and entry["type"] != "missing" for entry in found) and not _is_json(
            request
        ):
            # The framework has not even tried to decode it.
            return Problem(415, "unsupported-media-type", "Send application/json.").response()
        listed: list[dict[str, Any]] = [
            {"loc": [_shown(part) for part in entry["loc"]], "msg": _shown(entry["msg"])} for entry in found
        ]
        if len(listed) > MOST_ERRORS:
            more = {"loc": listed[MOST_ERRORS]["loc"][:1], "msg": f"and {len(listed) - MOST_ERRORS} more"}
            listed = [*listed[:MOST_ERRORS], more]
        return Problem(422, "invalid-input", "The request is not valid; see errors.", errors=listed).response()

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if error.status_code == 400 and isinstance(error.__cause__, ValueError | RecursionError):
            # What the JSON decoder gives up on other than by its own error: no UTF-8, endless numbers or nesting.
            return invalid_input((["body"], "this is no JSON that can be read")).response()
        slug = _SLUG_OF_STATUS.get(error.status_code, "bad-request")
        detail = str(error.detail) or HTTPStatus(error.status_code).phrase
        headers = dict(error.headers or {})
        if error.status_code == 405:
            headers["Allow"] = _allowed(request, headers.get("Allow", ""))
        return Problem(error.status_code, slug, detail, headers=headers).response()

    async def crash(request: Request, error: Exception) -> Response:
        headers = answer_headers(request.scope)
        log.error(
            "request crashed",
            method=request.method,
            path=request.url.path,
            request_id=headers["X-Request-Id"],
            exc_info=error,
        )
        detail = "Something went wrong here; it has been logged."
        return Problem(500, "internal-error", detail, headers=headers).response()

    app.add_exception_handler(Problem, problem)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(Exception, crash)


def _allowed(request: Request, by_route: str) -> str:
    """What this path takes. The framework names the methods of one route, where each method of a path has its own; only
    the document knows them together. (It is made when it is first needed, once.)"""
    path = getattr(request.scope.get("route"), "path", None)
    methods = [method.upper() for method in request.app.openapi()["paths"].get(path, ())] or [by_route]
    if "GET" in methods and has_head(request.scope):
        methods.append("HEAD")
    return ", ".join(sorted(methods))


def _is_json(request: Request) -> bool:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return media_type.startswith("application/") and (media_type == "application/json" or media_type.endswith("+json"))


def _shown(part: object) -> str | int:
    """What a caller sent, as it can be sent back: field names may be endless, or hold lone surrogates."""
    if isinstance(part, int):
        return part
    text = str(part).encode("utf-8", "replace").decode()
    return text if len(text) <= LONGEST_ECHO else text[:LONGEST_ECHO] + "…"
