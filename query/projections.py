"""HTTP of the projections: how far each has come, as the projector last told."""

from datetime import datetime
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from query.answers import ProjectionList
from query.edge import StaffOrOperator, documented
from query.freshness import Checkpoint, LogState, health, lag_seconds
from query.reading import PRIVATE, RequestReads
from runtime.clock import now
from runtime.http import JsonResponse
from views import all_views

router = APIRouter(prefix="/projections", tags=["operations"])

VIEWS = tuple(all_views())


@router.get("", response_model=ProjectionList, summary="Where each projection stands", **documented(401, 403))
async def projections(_: StaffOrOperator, reads: RequestReads) -> Response:
    """Every instance of every view; while one is rebuilt there are two."""
    log = await reads.log_seen_by(*VIEWS)
    at = now()
    follower = reads.models.follower
    rows = [_row(one, follower.role(one), log, at) for one in follower.checkpoints()]
    return JsonResponse({"items": rows}, headers=PRIVATE)


def _row(checkpoint: Checkpoint, role: str, log: LogState, at: datetime) -> dict[str, Any]:
    # The head is told once a second; a view may have passed it.
    head = max(log.head, checkpoint.position)
    return {
        "name": checkpoint.view,
        "version": checkpoint.version,
        "state": role,
        "health": health(checkpoint, role, log, at),
        "position": checkpoint.position,
        "head": head,
        "lag_events": head - checkpoint.position,
        "lag_seconds": round(lag_seconds(checkpoint, log, at), 3),
        "parked_sequences": checkpoint.parked_sequences,
    }
