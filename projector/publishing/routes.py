"""HTTP of publishers, for operators: where they stand."""

from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel

from projector.edge import Operator, refusals
from projector.publishing.engine import Publishing
from runtime.openapi import example

router = APIRouter(tags=["operations"])


class PublisherAnswer(BaseModel):
    """Where one publisher stands, as this process sees it: the broker has confirmed everything up to `position`."""

    name: str
    state: str
    epoch: int
    trouble: str | None
    position: int
    head: int
    lag_events: int
    lag_seconds: float


class PublisherList(BaseModel):
    """One for each broker that is set."""

    model_config = example(
        items=[
            {
                "name": "kafka",
                "state": "active",
                "epoch": 2,
                "trouble": None,
                "position": 4711,
                "head": 4711,
                "lag_events": 0,
                "lag_seconds": 0.0,
            }
        ]
    )

    items: list[PublisherAnswer]


@router.get(
    "/publishers",
    response_model=PublisherList,
    summary="Where each publisher stands",
    responses=refusals({422: "`invalid-input`: see `errors`"}),
)
async def publishers(_: Operator, request: Request) -> dict[str, list[dict[str, Any]]]:
    """A publisher brings the event log to a broker: Kafka, RabbitMQ. One that is away is waited for."""
    publishing: Publishing = request.app.state.publishing
    return {"items": [publisher.status() for publisher in publishing.publishers]}
