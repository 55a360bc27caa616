"""What the events look like: a JSON Schema per event and version, and one AsyncAPI document of how to get them.

Both are made from the event classes, so they cannot say anything else than the code does. They need no token: they hold
no data. A version that was published once stays, with its schema, for as long as the log holds events of it: for ever.
"""

import inspect
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from command.edge import Id
from events.envelope import aggregate_type_named, event_types, shapes
from events.values import Value
from eventstore.cloud_events import SOURCE, schema_path
from runtime.http import JsonResponse
from runtime.openapi import example, problems
from runtime.problems import Problem

router = APIRouter(tags=["events"])

SCHEMA_MEDIA_TYPE = "application/schema+json"
_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_CACHED = {"Cache-Control": "public, max-age=300"}
_REFUSALS = problems({404: "`not-found`: no such event or version", 422: "`invalid-input`: see `errors`"})


def json_schema(event_type: str, version: int, shape: type[Value]) -> dict[str, Any]:
    """The JSON Schema of an event's ``data``. Unknown fields are allowed: events only grow within a version."""
    schema = msgspec.json.schema(shape)
    definitions = schema.pop("$defs")
    body = definitions.pop(schema.pop("$ref").rpartition("/")[2])
    body["title"] = event_type
    inner = {"$defs": definitions} if definitions else {}
    return {"$schema": _DIALECT, "$id": schema_path(event_type, version), **body, **inner}


class PublishedVersion(BaseModel):
    """One version of one event; `current` is the version that is written now."""

    type: str
    version: int
    current: bool
    aggregate_type: str
    description: str
    dataschema: str


class PublishedVersions(BaseModel):
    """Every event and version that was ever published."""

    model_config = example(
        items=[
            {
                "type": "OrderCanceled",
                "version": 1,
                "current": True,
                "aggregate_type": "order",
                "description": "The order was called off.",
                "dataschema": "/events/schemas/OrderCanceled/1",
            }
        ]
    )

    items: list[PublishedVersion]


class AsyncApiDocument(BaseModel):
    """An AsyncAPI 3 document; what is in it, its specification says."""

    model_config = example(asyncapi="3.0.0", info={"title": "Readside events", "version": "1.0.0"}, channels={}) | {
        "extra": "allow"
    }

    asyncapi: str
    info: dict[str, Any]
    channels: dict[str, Any]


@router.get(
    "/events/schemas",
    summary="Every event and version that was ever published",
    response_model=PublishedVersions,
)
async def schemas() -> Response:
    """`current` is the version that is written now; the log holds the others too."""
    newest = event_types()
    items = [
        {
            "type": event_type,
            "version": version,
            "current": newest[event_type].schema_version == version,
            "aggregate_type": aggregate_type_named(event_type),
            "description": inspect.getdoc(shape),
            "dataschema": schema_path(event_type, version),
        }
        for (event_type, version), shape in shapes().items()
    ]
    return JsonResponse({"items": items}, headers=_CACHED)


@router.get(
    "/events/schemas/{event_type}/{version}",
    summary="The JSON Schema of one event in one version",
    response_class=Response,
    responses={
        200: {"description": "Of the event's `data`", "content": {SCHEMA_MEDIA_TYPE: {"schema": {"type": "object"}}}},
        **_REFUSALS,
    },
)
async def schema(event_type: Id, version: Annotated[int, Path(ge=0, le=2**15 - 1)]) -> Response:
    """What the `dataschema` of an event names."""
    shape = shapes().get((event_type, version))
    if shape is None:
        raise Problem(404, "not-found", "There is no such event, or it never had this version.")
    return Response(
        msgspec.json.encode(json_schema(event_type, version, shape)), headers=_CACHED, media_type=SCHEMA_MEDIA_TYPE
    )


@router.get(
    "/asyncapi.json",
    summary="AsyncAPI 3 document of the event feed",
    response_model=AsyncApiDocument,
)
async def asyncapi(request: Request) -> Response:
    """For code generators and catalogs: channels, operations, every message with its schema."""
    return JsonResponse(asyncapi_document(request.app.version), headers=_CACHED)


def asyncapi_document(version: str) -> dict[str, Any]:
    """AsyncAPI 3.0: the log as one channel, with a message per event and version."""
    published = shapes()
    names = {key: f"{key[0]}.v{key[1]}" for key in published}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Readside events",
            "version": version,
            "description": "What happened in the shop, in order. Positions are consecutive, from 1, and never change; "
            "the events of one aggregate stand in the order of their versions.",
        },
        "defaultContentType": "application/cloudevents+json",
        "channels": {
            "events": {
                "address": "/events/stream",
                "title": "The event log",
                "description": "As server-sent events; `GET /events` gives the same in batches, with long polling.",
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names.values()},
                "bindings": {"http": {}},
            }
        },
        "operations": {
            "publishEvents": {
                "action": "send",
                "channel": {"$ref": "#/channels/events"},
                "title": "The shop tells what happened",
                "messages": [{"$ref": f"#/channels/events/messages/{name}"} for name in names.values()],
                "bindings": {"http": {"method": "GET", "query": _QUERY, "bindingVersion": "0.3.0"}},
                "security": [{"$ref": "#/components/securitySchemes/bearer"}],
            }
        },
        "components": {
            "messages": {names[key]: _message(key, shape) for key, shape in published.items()},
            "schemas": {"CloudEvent": CLOUD_EVENT}
            | {names[key]: _embedded(json_schema(*key, shape)) for key, shape in published.items()},
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


_QUERY: dict[str, Any] = {
    "type": "object",
    "properties": {
        "after": {"type": "integer", "minimum": 0, "description": "The last position that was handled"},
        "aggregate_type": {"type": "string"},
        "aggregate_id": {"type": "string"},
        "event_type": {"type": "string"},
    },
}
CLOUD_EVENT: dict[str, Any] = {
    "type": "object",
    "description": "CloudEvents 1.0, with the log's own extension attributes",
    "required": [
        "specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema", "position",
        "aggregatetype", "aggregateid", "aggregateversion", "data",
    ],
    "properties": {
        "specversion": {"const": "1.0"},
        "id": {"type": "string", "format": "uuid"},
        "source": {"const": SOURCE},
        "type": {"type": "string"},
        "subject": {"type": "string", "description": "Type and id of the aggregate"},
        "time": {"type": "string", "format": "date-time"},
        "datacontenttype": {"const": "application/json"},
        "dataschema": {"type": "string", "format": "uri-reference"},
        "position": {"type": "integer", "minimum": 1, "description": "Place in the log, without gaps"},
        "aggregatetype": {"type": "string"},
        "aggregateid": {"type": "string"},
        "aggregateversion": {"type": "integer", "minimum": 1, "description": "Place in the aggregate's life"},
        "traceparent": {"type": "string"},
        "data": {"type": "object"},
    },
    "example": {
        "specversion": "1.0",
        "id": "019a9f0e-5c1f-7cc3-98c4-dc0c0c07398f",
        "source": SOURCE,
        "type": "OrderCanceled",
        "subject": "order/019a9f0e-4b2a-7d55-a1c0-2f6f0f7c1d11",
        "time": "2026-11-21T06:34:12.000000Z",
        "datacontenttype": "application/json",
        "dataschema": schema_path("OrderCanceled", 1),
        "position": 4711,
        "aggregatetype": "order",
        "aggregateid": "019a9f0e-4b2a-7d55-a1c0-2f6f0f7c1d11",
        "aggregateversion": 4,
        "data": {"reason": "changed my mind"},
    },
}  # fmt: skip
"""One event of the feed, as JSON Schema."""


def _message(key: tuple[str, int], shape: type[Value]) -> dict[str, Any]:
    event_type, version = key
    return {
        "name": event_type,
        "title": f"{event_type}, version {version}",
        "summary": inspect.getdoc(shape),
        "contentType": "application/cloudevents+json",
        "tags": [{"name": aggregate_type_named(event_type)}],
        "payload": {
            "allOf": [
                {"$ref": "#/components/schemas/CloudEvent"},
                {
                    "type": "object",
                    "properties": {
                        "type": {"const": event_type},
                        "dataschema": {"const": schema_path(event_type, version)},
                        "data": {"$ref": f"#/components/schemas/{event_type}.v{version}"},
                    },
                },
            ]
        },
    }


def _embedded(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema as a part of another document, where a reference counts from the top: inner definitions put in place."""
    definitions = schema.get("$defs", {})

    def placed(part: Any) -> Any:
        if isinstance(part, list):
            return [placed(one) for one in part]
        if not isinstance(part, dict):
            return part
        if "$ref" in part:
            return placed(definitions[part["$ref"].rpartition("/")[2]])
        return {name: placed(one) for name, one in part.items() if name not in ("$schema", "$id", "$defs")}

    found: dict[str, Any] = placed(schema)
    return found
