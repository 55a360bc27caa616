"""The event log as an API from which others pull: CloudEvents 1.0 in JSON batch format."""

from collections.abc import Collection
from typing import Annotated, Any
from urllib.parse import urlencode

import msgspec
from fastapi import APIRouter, Query, Request
from pydantic import AfterValidator, WithJsonSchema
from starlette.responses import Response

from command.edge import Id, Operator
from events.envelope import aggregate_types, event_types
from eventstore import EventLog, Filter
from eventstore.log import StoredEvent
from runtime.clock import rfc3339
from runtime.openapi import problems

router = APIRouter(tags=["events"])

MOST_EVENTS = 1000
BATCH_MEDIA_TYPE = "application/cloudevents-batch+json"


def _one_of(names: Collection[str]) -> tuple[AfterValidator, WithJsonSchema]:
    def known(value: str) -> str:
        if value not in names:
            raise ValueError(f"one of {', '.join(sorted(names))} is expected")
        return value

    return AfterValidator(known), WithJsonSchema({"type": "string", "enum": sorted(names)})


AggregateType = Annotated[str, *_one_of(aggregate_types())]
EventType = Annotated[str, *_one_of(event_types())]


@router.get(
    "/events",
    summary="Events after a position, in order",
    response_class=Response,
    responses={
        200: {"content": {BATCH_MEDIA_TYPE: {}}, "description": "A batch of CloudEvents, empty at the end"},
        **problems(
            {
                401: "`unauthorized`: no valid token",
                403: "`forbidden`: the token lacks the scope",
                422: "`invalid-input`: see `errors`",
                503: "`unavailable`: see `Retry-After`",
            }
        ),
    },
)
async def events(
    request: Request,
    _: Operator,
    after: Annotated[int, Query(ge=0, le=2**63 - 1, description="The last position that was handled")] = 0,
    limit: Annotated[int, Query(ge=1, le=MOST_EVENTS)] = 100,
    aggregate_type: AggregateType | None = None,
    aggregate_id: Id | None = None,
    event_type: EventType | None = None,
) -> Response:
    """Keep the last position that you have handled, and ask for what comes after it."""
    only = Filter(aggregate_type, aggregate_id, event_type)
    log: EventLog = request.app.state.event_log
    found = await log.get(after, limit, None if only == Filter() else only)
    following = {**request.query_params, "after": str(found[-1].position if found else after)}
    return Response(
        msgspec.json.encode([cloud_event(event) for event in found]),
        headers={"Link": f'</events?{urlencode(following)}>; rel="next"', "Cache-Control": "no-store"},
        media_type=BATCH_MEDIA_TYPE,
    )


def cloud_event(stored: StoredEvent) -> dict[str, Any]:
    """A stored event as a CloudEvent; extension attributes have lower-case names without separators."""
    event: dict[str, Any] = {
        "specversion": "1.0",
        "id": stored.event_id,
        "source": "/readside/events",
        "type": stored.event_type,
        "subject": f"{stored.aggregate_type}/{stored.aggregate_id}",
        "time": rfc3339(stored.occurred_at),
        "datacontenttype": "application/json",
        "dataschema": f"/events/schemas/{stored.event_type}/{stored.schema_version}",
        "position": stored.position,
        "aggregatetype": stored.aggregate_type,
        "aggregateid": stored.aggregate_id,
        "aggregateversion": stored.aggregate_version,
        "data": msgspec.Raw(stored.payload.encode()),
    }
    if stored.traceparent is not None:
        event["traceparent"] = stored.traceparent
    return event
