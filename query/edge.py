"""Where HTTP meets the views: who may ask, what an id may look like, and how a store that is away is told."""

from typing import Annotated, Any, Literal

import structlog
from fastapi import Depends, FastAPI, Query, Request
from pydantic import StringConstraints
from pymongo.errors import OperationFailure, PyMongoError
from starlette.responses import Response

from query.live import LiveViews
from query.reading import unavailable
from runtime.access import requires
from runtime.openapi import problems
from runtime.problems import Problem
from runtime.streams import LAST_EVENT_ID, documented_stream
from runtime.tokens import Caller

log = structlog.get_logger()

STORE_ERRORS = (PyMongoError, TimeoutError, Problem)
"""What reading raises while MongoDB is away; the problem says that the views cannot be read, or are not made."""

Customer = Annotated[Caller, Depends(requires("customer"))]
Staff = Annotated[Caller, Depends(requires("staff"))]
CustomerOrStaff = Annotated[Caller, Depends(requires("customer", "staff"))]
StaffOrOperator = Annotated[Caller, Depends(requires("staff", "operator"))]

Id = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f/]+$")]
Limit = Annotated[int, Query(ge=1, le=100, description="Most items of one page")]
Cursor = Annotated[str | None, Query(max_length=1000, description="`next_cursor` of the page before")]
Status = Literal["PAYMENT_WAITING", "PREPARING", "SHIPPED", "DELIVERING", "DELIVERY_COMPLETED", "CANCELED"]

_CONSISTENCY = [
    {
        "name": "Consistency-Token",
        "in": "header",
        "required": False,
        "schema": {"type": "string"},
        "description": "Of a command's answer: this answer then includes that command's effects.",
    },
    {
        "name": "Prefer",
        "in": "header",
        "required": False,
        "schema": {"type": "string", "examples": ["wait=5"]},
        "description": "`wait=N`: seconds to wait for the Consistency-Token, 2 by default, at most 30.",
    },
]
_IF_NONE_MATCH = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
    "description": "The `ETag` of an answer that you have; 304 if it is still the same.",
}
_FRESHNESS = {
    "Read-Model-Position": {
        "description": "The answer includes all events up to this position, at least.",
        "schema": {"type": "integer"},
    },
    "Read-Model-Lag-Seconds": {
        "description": "How far the view is behind the event log; 0 when it is current.",
        "schema": {"type": "number"},
    },
    "Preference-Applied": {
        "description": "`wait=N`: what of `Prefer` was heeded, in seconds.",
        "schema": {"type": "string"},
    },
    "Read-Model-State": {
        "description": "`parked`: later changes of this document wait behind a dead letter.",
        "schema": {"type": "string", "enum": ["parked"]},
    },
}
_ETAG = {
    "ETag": {
        "description": "The version, in quotes; for `If-None-Match` here and `If-Match` of the command API.",
        "schema": {"type": "string"},
        "example": '"3"',
    }
}
_PROBLEMS = {
    400: "`unknown-consistency-token`: not one of this deployment's",
    401: "`unauthorized`: no valid token",
    403: "`forbidden`: the token lacks the scope",
    404: "`not-found`: does not exist, or is not yours to see",
    422: "`invalid-input`: see `errors`",
    503: "`read-model-behind`: the view is not that far yet; `unavailable`: it cannot be read; see `Retry-After`; "
    "`read-model-parked`: what the Consistency-Token stands for may wait behind a dead letter",
}


def documented(*statuses: int, if_none_match: bool = False) -> dict[str, Any]:
    """What a route of views tells about itself in OpenAPI beyond its own parameters and model.

    Headers are read from the request where they are needed: declared as parameters they would be parsed each time.
    """
    headers = _FRESHNESS | (_ETAG if if_none_match else {})
    responses: dict[int | str, dict[str, Any]] = {200: {"headers": headers}}
    if if_none_match:
        responses[304] = {"description": "Not modified since", "headers": headers}
    responses |= problems({status: _PROBLEMS[status] for status in (400, *statuses, 422, 503)})
    parameters = [*_CONSISTENCY, _IF_NONE_MATCH] if if_none_match else _CONSISTENCY
    return {"responses": responses, "openapi_extra": {"parameters": parameters}}


def documented_live(description: str, *statuses: int) -> dict[str, Any]:
    """The same for a stream of what a view holds."""
    told = documented(*statuses)
    told["responses"][200] = {**documented_stream(description), "headers": _FRESHNESS}
    told["responses"] |= problems({503: f"{_PROBLEMS[503]}; `too-many-listeners`: too many listen already"})
    told["openapi_extra"] = {"parameters": [*_CONSISTENCY, LAST_EVENT_ID]}
    return told


async def live_of(request: Request) -> LiveViews:
    """What this process has for those who listen."""
    live: LiveViews = request.app.state.live
    return live


Live = Annotated[LiveViews, Depends(live_of)]


def install_store_handlers(app: FastAPI) -> None:
    """What MongoDB cannot answer now is a 503, whatever the driver calls it."""

    async def away(request: Request, error: Exception) -> Response:
        if isinstance(error, OperationFailure):
            # The server answered, with a refusal: mostly passing, but somebody should know.
            log.warning("MongoDB refused a query", path=request.url.path, code=error.code, reason=str(error)[:300])
        return unavailable().response()

    app.add_exception_handler(PyMongoError, away)
    app.add_exception_handler(TimeoutError, away)
