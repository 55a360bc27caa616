"""HTTP of member profiles: a member sees their own, staff see any."""

from fastapi import APIRouter
from starlette.responses import Response

from query.answers import MemberAnswer
from query.edge import CustomerOrStaff, Id, documented
from query.reading import Reads, RequestReads
from query.rendering import is_parked, renamed

router = APIRouter(prefix="/members", tags=["members"])

VIEW = "member_profile"


@router.get("/me", response_model=MemberAnswer, summary="My profile", **documented(401, 403, 404))
async def me(caller: CustomerOrStaff, reads: RequestReads) -> Response:
    """The profile of the token's subject."""
    return await _profile(reads, caller.subject)


@router.get("/{member_id}", response_model=MemberAnswer, summary="A member's profile", **documented(401, 403, 404))
async def member(member_id: Id, caller: CustomerOrStaff, reads: RequestReads) -> Response:
    """Name, e-mail, number of orders, lifetime value, last order."""
    return await _profile(reads, member_id, visible=caller.has("staff") or member_id == caller.subject)


async def _profile(reads: Reads, member_id: str, *, visible: bool = True) -> Response:
    reading = await reads.of(VIEW)
    found = await reading.find(VIEW, member_id) if visible else None
    if found is None:
        raise reading.not_found("member")
    profile = renamed(found, "member_id")
    # Nothing bought yet is nothing in the shop's own currency.
    profile["currency"] = profile.get("currency") or reading.log.currency
    return reading.answer(profile, parked=is_parked(found))
