"""HTTP of reactions, for operators: where they stand."""

from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel

from projector.edge import Operator, refusals
from projector.reacting.engine import Reacting
from runtime.openapi import example

router = APIRouter(tags=["operations"])


class ReactionAnswer(BaseModel):
    """Where one reaction stands, as this process sees it.

    Everything up to `position` is done, or a dead letter; of what comes after it most may be done too. `trouble` is why
    it does not get on, where one of our own stores is to blame.
    """

    name: str
    state: str
    health: str
    epoch: int
    trouble: str | None
    position: int
    head: int
    lag_events: int
    lag_seconds: float
    in_flight: int
    parked_sequences: int


class ReactionList(BaseModel):
    """Every reaction that this process works at, or stands by for."""

    model_config = example(
        items=[
            {
                "name": "refund",
                "state": "active",
                "health": "behind",
                "epoch": 3,
                "trouble": None,
                "position": 4708,
                "head": 4711,
                "lag_events": 3,
                "lag_seconds": 0.4,
                "in_flight": 2,
                "parked_sequences": 0,
            }
        ]
    )

    items: list[ReactionAnswer]


@router.get(
    "/reactions",
    response_model=ReactionList,
    summary="Where each reaction stands",
    responses=refusals({422: "`invalid-input`: see `errors`"}),
)
async def reactions(_: Operator, request: Request) -> dict[str, list[dict[str, Any]]]:
    """A reaction is what events bring about outside: a refund, a mail. Its dead letters are under `/dead-letters`."""
    reacting: Reacting = request.app.state.reacting
    return {"items": [runner.status() for runner in reacting.runners]}
