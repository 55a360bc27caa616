"""HTTP of points: a member sees their own, staff see any.

An account is opened by its first event; until then a member has no points, and the answer says just that. So 404 is
only for what is not the caller's to see, and tells nothing of whether there is any.
"""

from fastapi import APIRouter
from starlette.responses import Response

from query.edge import CustomerOrStaff, Id, documented
from query.point_answers import PointsAnswer
from query.reading import Reads, RequestReads
from query.rendering import is_parked, renamed

router = APIRouter(prefix="/members", tags=["points"])

VIEW = "points_account"

_EMPTY = {"balance": 0, "version": 0, "charged": 0, "used": 0, "returned": 0, "entries": (), "updated_at": None}


@router.get("/me/points", response_model=PointsAnswer, summary="My points", **documented(401, 403))
async def my_points(caller: CustomerOrStaff, reads: RequestReads) -> Response:
    """The points of the token's subject; none where there never were any."""
    return await _points(reads, caller.subject)


@router.get(
    "/{member_id}/points", response_model=PointsAnswer, summary="A member's points", **documented(401, 403, 404)
)
async def points(member_id: Id, caller: CustomerOrStaff, reads: RequestReads) -> Response:
    """How many there are, and the newest 100 changes, the newest first; none where there never were any."""
    return await _points(reads, member_id, visible=caller.has("staff") or member_id == caller.subject)


async def _points(reads: Reads, member_id: str, *, visible: bool = True) -> Response:
    reading = await reads.of(VIEW)
    if not visible:
        raise reading.not_found("member")
    found = await reading.find(VIEW, member_id)
    if found is None:
        is_held_back = await reading.is_held_back(VIEW, member_id)
        return reading.answer({"member_id": member_id, **_EMPTY}, parked=is_held_back)
    return reading.answer(renamed(found, "member_id"), parked=is_parked(found))
