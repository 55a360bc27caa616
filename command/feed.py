"""The event log as an API from which others pull: CloudEvents 1.0, in JSON batches or as server-sent events.

Guarantees, to a consumer that keeps the last position that it has handled:

- It is given every event once, in the order of the log, whichever way it asks, over any number of reconnects.
- ``Link: rel="next"`` names the position up to which the log was looked at, also where a filter found nothing there.
  No event that the filter wants lies at or below it.
- An event is told as it was written, in the schema version that it was written in (``dataschema``).
"""

import re
from collections.abc import AsyncIterator, Collection
from contextlib import ExitStack
from dataclasses import dataclass
from time import time
from typing import Annotated
from urllib.parse import urlencode

import msgspec
from fastapi import APIRouter, Depends, Query, Request
from pydantic import AfterValidator, WithJsonSchema
from sse_starlette import ServerSentEvent
from starlette.responses import Response

from command.edge import Id, Operator
from command.event_schemas import CLOUD_EVENT
from events.envelope import aggregate_types, event_types
from eventstore import EventLog, Filter, LogWatch, Page, read_page
from eventstore.cloud_events import cloud_event
from eventstore.watch import KIND
from runtime.listeners import Listener, Listeners
from runtime.openapi import problems
from runtime.parameters import only_known_parameters
from runtime.postgres import DRIVER_ERRORS
from runtime.preferences import wait_seconds
from runtime.settings import Settings
from runtime.streams import (
    LAST_EVENT_ID,
    EventStream,
    documented_stream,
    event,
    last_event_id,
    leaving_with_its_caller,
)

router = APIRouter(tags=["events"])

MOST_EVENTS = 1000
LONGEST_WAIT_SECONDS = 60
BATCH_MEDIA_TYPE = "application/cloudevents-batch+json"
_STREAMED_AT_ONCE = 100
_AFTER_ERROR_SECONDS = 1.0
_POSITION = re.compile(r"\d{1,18}", re.ASCII)

_PREFER = {
    "name": "Prefer",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "examples": ["wait=30"]},
    "description": "`wait=N`: hold the call until there is something, or N seconds have passed; at most 60.",
}
_REFUSALS = problems(
    {
        401: "`unauthorized`: no valid token",
        403: "`forbidden`: the token lacks the scope",
        422: "`invalid-input`: see `errors`",
        503: "`unavailable`: the database does not answer; `too-many-listeners`: too many wait already; "
        "see `Retry-After`",
    }
)
_BATCH = {
    "description": "A batch of CloudEvents, empty where there is nothing (yet)",
    "content": {
        BATCH_MEDIA_TYPE: {"schema": {"type": "array", "items": CLOUD_EVENT, "maxItems": MOST_EVENTS}},
    },
    "headers": {
        "Link": {
            "description": '`rel="next"`: the next call, from the position up to which the log was looked at.',
            "schema": {"type": "string"},
        },
        "Preference-Applied": {
            "description": "The wait that was granted, where one was asked for.",
            "schema": {"type": "string"},
        },
    },
}


def _one_of(names: Collection[str]) -> tuple[AfterValidator, WithJsonSchema]:
    def known(value: str) -> str:
        if value not in names:
            raise ValueError(f"one of {', '.join(sorted(names))} is expected")
        return value

    return AfterValidator(known), WithJsonSchema({"type": "string", "enum": sorted(names)})


AggregateType = Annotated[str, *_one_of(aggregate_types())]
EventType = Annotated[str, *_one_of(event_types())]
After = Annotated[int, Query(ge=0, le=2**63 - 1, description="The last position that was handled")]


@dataclass(frozen=True, slots=True)
class EventFeed:
    """What the process has for everybody who pulls events."""

    log: EventLog
    watch: LogWatch
    listeners: Listeners


def _feed(request: Request) -> EventFeed:
    feed: EventFeed = request.app.state.event_feed
    return feed


def _filter(
    aggregate_type: AggregateType | None = None,
    aggregate_id: Id | None = None,
    event_type: EventType | None = None,
) -> Filter:
    return Filter(aggregate_type, aggregate_id, event_type)


Feed = Annotated[EventFeed, Depends(_feed)]
Only = Annotated[Filter, Depends(_filter)]
_ONLY_KNOWN = [Depends(only_known_parameters)]


@router.get(
    "/events",
    summary="Events after a position, in order",
    response_class=Response,
    dependencies=_ONLY_KNOWN,
    responses={200: _BATCH, **_REFUSALS},
    openapi_extra={"parameters": [_PREFER]},
)
async def events(
    request: Request,
    caller: Operator,
    feed: Feed,
    only: Only,
    after: After = 0,
    limit: Annotated[int, Query(ge=1, le=MOST_EVENTS)] = 100,
) -> Response:
    """Keep the last position that you have handled, and ask for what comes after it."""
    wait = wait_seconds(request.headers.getlist("prefer"), longest=LONGEST_WAIT_SECONDS)
    page = await read_page(feed.log, after, limit, only)
    if wait and not page.events:
        with feed.listeners.seat(KIND, seconds=min(wait, caller.expires_at - time())) as listener:
            async with leaving_with_its_caller(request, listener):
                page = await _awaited(feed, listener, page, limit, only)
    following = urlencode({**request.query_params, "after": str(page.scanned)})
    headers = {"Link": f'</events?{following}>; rel="next"', "Cache-Control": "no-store"}
    if wait is not None:
        headers["Preference-Applied"] = f"wait={wait}"
    return Response(
        msgspec.json.encode([cloud_event(event) for event in page.events]),
        headers=headers,
        media_type=BATCH_MEDIA_TYPE,
    )


@router.get(
    "/events/stream",
    summary="Events after a position, as they come",
    response_class=Response,
    dependencies=_ONLY_KNOWN,
    responses={
        200: documented_stream("One CloudEvent in each `data`, its position as `id`."),
        **_REFUSALS,
    },
    openapi_extra={"parameters": [LAST_EVENT_ID]},
)
async def event_stream(request: Request, caller: Operator, feed: Feed, only: Only, after: After = 0) -> Response:
    """The same as `GET /events`, without asking again and again; `Last-Event-ID` is the position to go on after."""
    seen = last_event_id(request, _POSITION)
    start = after if seen is None else int(seen[0])
    settings: Settings = request.app.state.settings
    with ExitStack() as leaving:
        listener = leaving.enter_context(feed.listeners.seat(KIND, seconds=caller.expires_at - time()))
        first = await read_page(feed.log, start, _STREAMED_AT_ONCE, only)
        return EventStream(
            _streamed(feed, listener, first, only),
            leaving.pop_all(),
            send_timeout_seconds=settings.slow_reader_seconds,
        )


async def _awaited(feed: EventFeed, listener: Listener, page: Page, limit: int, only: Filter) -> Page:
    """The first page that holds something; at the end of the wait an empty one, that says how far it looked."""
    while not page.events and await listener.woken():
        page = await feed.watch.page(page.scanned, limit, only)
        if not page.is_end:
            listener.wake()
    return page


async def _streamed(feed: EventFeed, listener: Listener, page: Page, only: Filter) -> AsyncIterator[ServerSentEvent]:
    """One page at a time: the next is read when the socket has taken this one."""
    while True:
        for stored in page.events:
            yield event(msgspec.json.encode(cloud_event(stored)), event_id=str(stored.position))
        if not page.is_end:
            listener.wake()
        if not await listener.woken():
            return
        try:
            page = await feed.watch.page(page.scanned, _STREAMED_AT_ONCE, only)
        except DRIVER_ERRORS:
            # The log will be back, and the stream still knows where it was.
            await listener.pause(_AFTER_ERROR_SECONDS)
            page = Page((), page.scanned, is_end=False)
