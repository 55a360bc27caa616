"""HTTP of dead letters, for operators: list, show, retry, discard.

A retry or a discard is done by whichever projector owns the projection. The call waits for it a little: 200 says how
it ended, 202 that it is still to be done.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pymongo.errors import PyMongoError
from starlette.responses import Response

from projector.dead_letters import REQUESTED, DeadLetters, DeadLetterSettled, Filter, NoSuchDeadLetter, State
from projector.edge import Operator, refusals
from runtime.cursors import Cursors, UnknownCursor
from runtime.http import JsonResponse
from runtime.mongo import Database
from runtime.openapi import example
from runtime.problems import Problem, invalid_input

_ANSWER_WITHIN_SECONDS = 2.0

LetterId = Annotated[str, Path(min_length=1, max_length=200, description="Opaque, of a list")]

_AT = "2026-11-21T09:07:03.332313Z"
_LETTER = {
    "id": "order_detail.v1|4711",
    "projection": "order_detail",
    "aggregate_type": "order",
    "aggregate_id": "01a1fd92-dea5-72b4-9ebd-f38eef0652b2",
    "position": 4711,
    "event_type": "OrderPaid",
    "error": "ValueError: no such step",
    "attempts": 3,
    "first_failed_at": _AT,
    "last_failed_at": _AT,
    "state": "failed",
}

router = APIRouter(prefix="/dead-letters", tags=["dead letters"])


@dataclass(frozen=True, slots=True)
class Operating:
    """What these calls work with. ``wake`` tells this process's runners that there is a request."""

    database: Database
    letters: DeadLetters
    wake: Callable[[], None]


def install_dead_letters(app: FastAPI, database: Database, wake: Callable[[], None]) -> None:
    """Mount these calls."""
    app.state.operating = Operating(database, DeadLetters(database), wake)
    app.include_router(router)

    async def unknown(*_: object) -> Response:
        return Problem(404, "not-found", "There is no such dead letter.").response()

    async def settled(_: Request, error: Exception) -> Response:
        assert isinstance(error, DeadLetterSettled)
        detail = f"That dead letter is {error.state} already."
        return Problem(409, "dead-letter-settled", detail, state=error.state).response()

    async def away(*_: object) -> Response:
        return Problem(503, "unavailable", "MongoDB does not answer just now.", headers={"Retry-After": "1"}).response()

    app.add_exception_handler(NoSuchDeadLetter, unknown)
    app.add_exception_handler(DeadLetterSettled, settled)
    app.add_exception_handler(PyMongoError, away)


async def _operating(request: Request) -> Operating:
    operating: Operating = request.app.state.operating
    return operating


Using = Annotated[Operating, Depends(_operating)]


class Page(BaseModel):
    """Which letters, and how many of them."""

    model_config = ConfigDict(extra="forbid")

    projection: Annotated[str | None, Field(max_length=100)] = None
    state: Annotated[State | None, Field(description="Without it: all whose event may still take effect")] = None
    aggregate_id: Annotated[str | None, Field(max_length=100)] = None
    limit: Annotated[int, Field(ge=1, le=100)] = 20
    cursor: Annotated[str | None, Field(max_length=1000, description="`next_cursor` of the page before")] = None


class Discard(BaseModel):
    """Why the event is given up."""

    model_config = ConfigDict(
        extra="forbid", strict=True, json_schema_extra={"example": {"reason": "sent by a test; nobody waits for it"}}
    )

    reason: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=1000)]


class RetryOf(BaseModel):
    """Which letters: these, or all."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={
            "example": {"ids": ["order_detail.v1|4711"]},
            "oneOf": [
                {"required": ["ids"], "properties": {"ids": {"type": "array"}, "all": {"const": False}}},
                {"required": ["all"], "properties": {"ids": {"type": "null"}, "all": {"const": True}}},
            ],
        },
    )

    ids: Annotated[list[Annotated[str, Field(max_length=200)]], Field(min_length=1, max_length=1000)] | None = None
    all: bool = False


class DeadLetterAnswer(BaseModel):
    """An event that has not taken effect in a projection, or in the reaction of that name. Times are RFC 3339."""

    model_config = example(**_LETTER)

    id: str
    projection: str
    aggregate_type: str
    aggregate_id: str
    position: int
    event_type: str
    error: str
    attempts: int
    first_failed_at: str
    last_failed_at: str
    state: str


class HistoryEntry(BaseModel):
    """Who did what, when, and why."""

    at: str
    by: str
    what: str
    reason: str | None = None
    error: str | None = None


class WholeDeadLetter(DeadLetterAnswer):
    """With everything that helps to understand it."""

    model_config = example(
        **_LETTER,
        sequence=None,
        payload={"payment_id": "01a1fd92-dea5-72b4-9ebd-f38f12a5c9cc"},
        traceback="Traceback (most recent call last): …",
        history=[{"at": _AT, "by": "olga", "what": "retry requested", "reason": None, "error": None}],
    )

    sequence: Annotated[str | None, Field(description="In a reaction: the key of the events that wait for each other")]
    payload: Any
    traceback: str
    history: list[HistoryEntry]


class DeadLetterPage(BaseModel):
    """Letters in the order of the log."""

    model_config = example(items=[_LETTER], next_cursor=None)

    items: list[DeadLetterAnswer]
    next_cursor: str | None


class Requested(BaseModel):
    """How many letters are to be retried."""

    model_config = example(requested=2)

    requested: int


_NOT_FOUND = "`not-found`: there is no such dead letter"
_SETTLED = "`dead-letter-settled`: it has succeeded since, or was discarded"
_INVALID = "`invalid-input`: see `errors`"
_NO_JSON = "`unsupported-media-type`: not `application/json`"
_LATER: dict[int | str, dict[str, Any]] = {
    202: {"model": DeadLetterAnswer, "description": "Asked for; the projection's owner has not done it yet"}
}


@router.get("", response_model=DeadLetterPage, summary="Dead letters", responses=refusals({422: _INVALID}))
async def dead_letters(_: Operator, using: Using, asked: Annotated[Page, Query()]) -> Response:
    """In the order of the log; pass `next_cursor` with the same filters to go on."""
    only = Filter(projection=asked.projection, state=asked.state, aggregate_id=asked.aggregate_id)
    cursors = Cursors(await _deployment_id(using.database), "dead-letters", only.terms())
    found = await using.letters.page(only, asked.limit + 1, _after(asked.cursor, cursors))
    items = found[: asked.limit]
    more = len(found) > asked.limit
    return JsonResponse(
        {"items": items, "next_cursor": cursors.mint(str(items[-1]["position"]), items[-1]["id"]) if more else None}
    )


@router.post(
    "/retry",
    status_code=202,
    response_model=Requested,
    summary="Try several, or all, again",
    responses=refusals({415: _NO_JSON, 422: _INVALID}),
)
async def retry_several(caller: Operator, using: Using, which: RetryOf) -> Response:
    """`{"ids": […]}` or `{"all": true}`. Letters that are settled already are passed over."""
    if (which.ids is not None) == which.all:
        raise invalid_input((["body"], "give either ids or all"))
    asked = await using.letters.ask_retry(which.ids, caller.subject)
    using.wake()
    return JsonResponse({"requested": len(asked)}, 202)


@router.get(
    "/{letter_id}", response_model=WholeDeadLetter, summary="One dead letter", responses=refusals({404: _NOT_FOUND})
)
async def dead_letter(letter_id: LetterId, _: Operator, using: Using) -> Response:
    """With payload, traceback and history; also one that has succeeded since (`resolved`), or was discarded."""
    return JsonResponse(await using.letters.show(letter_id))


@router.post(
    "/{letter_id}/retry",
    response_model=DeadLetterAnswer,
    summary="Try it again",
    responses=_LATER | refusals({404: _NOT_FOUND, 409: _SETTLED}),
)
async def retry(letter_id: LetterId, caller: Operator, using: Using) -> Response:
    """Its aggregate's letters are tried in order, up to the first that fails again: `state` says what became of it."""
    await using.letters.refuse_settled(letter_id)
    asked = await using.letters.ask_retry([letter_id], caller.subject)
    return await _outcome(using, letter_id, asked)


@router.post(
    "/{letter_id}/discard",
    response_model=DeadLetterAnswer,
    summary="Give the event up, in this projection",
    responses=_LATER | refusals({404: _NOT_FOUND, 409: _SETTLED, 415: _NO_JSON, 422: _INVALID}),
)
async def discard(letter_id: LetterId, why: Discard, caller: Operator, using: Using) -> Response:
    """The projection skips it for good, also in a rebuild; what waited behind it is tried. The reason is kept."""
    await using.letters.refuse_settled(letter_id)
    asked = await using.letters.ask_discard(letter_id, caller.subject, why.reason)
    return await _outcome(using, letter_id, asked)


async def _outcome(using: Operating, letter_id: str, asked: dict[str, str]) -> Response:
    using.wake()
    letter = await using.letters.outcome(letter_id, asked.get(letter_id, ""), _ANSWER_WITHIN_SECONDS)
    return JsonResponse(letter, 202 if letter["state"] in REQUESTED else 200)


def _after(cursor: str | None, cursors: Cursors) -> tuple[int, str] | None:
    if cursor is None:
        return None
    try:
        position, last = cursors.read(cursor)
    except UnknownCursor:
        raise invalid_input((["query", "cursor"], "not a next_cursor of this list with these filters")) from None
    return int(position), last


async def _deployment_id(database: Database) -> str:
    found = await database["registry"].find_one({"_id": "$log"}, {"deployment_id": 1})
    return "" if found is None else str(found["deployment_id"])
