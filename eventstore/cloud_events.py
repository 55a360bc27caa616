"""An event of the log as a CloudEvent 1.0: the one shape in which events leave, whoever carries them.

Extension attributes have lower-case names without separators, as the specification asks: ``position``,
``aggregatetype``, ``aggregateid``, ``aggregateversion``, ``traceparent``.
"""

from typing import Any

import msgspec

from eventstore.stored import StoredEvent
from runtime.clock import rfc3339

SOURCE = "/readside/events"
STRUCTURED = "application/cloudevents+json"
"""Media type of one event with its attributes and its data in one JSON object."""
DATA = "application/json"

_encode = msgspec.json.Encoder().encode


def schema_path(event_type: str, version: int) -> str:
    """Where the schema of an event's ``data`` stands: its ``dataschema``."""
    return f"/events/schemas/{event_type}/{version}"


def attributes(stored: StoredEvent) -> dict[str, Any]:
    """All but the data; ``position`` and ``aggregateversion`` are integers, the rest is text."""
    told: dict[str, Any] = {
        "specversion": "1.0",
        "id": stored.event_id,
        "source": SOURCE,
        "type": stored.event_type,
        "subject": f"{stored.aggregate_type}/{stored.aggregate_id}",
        "time": rfc3339(stored.occurred_at),
        "datacontenttype": DATA,
        "dataschema": schema_path(stored.event_type, stored.schema_version),
        "position": stored.position,
        "aggregatetype": stored.aggregate_type,
        "aggregateid": stored.aggregate_id,
        "aggregateversion": stored.aggregate_version,
    }
    if stored.traceparent is not None:
        told["traceparent"] = stored.traceparent
    return told


def cloud_event(stored: StoredEvent) -> dict[str, Any]:
    """With the data as it was written, not decoded: for an encoder of JSON."""
    return {**attributes(stored), "data": msgspec.Raw(stored.payload.encode())}


def structured(stored: StoredEvent) -> bytes:
    """The whole event as one JSON object."""
    return _encode(cloud_event(stored))
