"""HTTP of the points context."""

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, Field, StringConstraints
from starlette.responses import Response

from command.documented import command
from command.edge import Body, Id, Line, Staff, UseCases
from command.points import service
from command.points.model import PointsAccount
from runtime.openapi import example
from runtime.problems import invalid_input

router = APIRouter(tags=["points"])


class ChargePoints(Body):
    """How many points come, and what for. A point is worth one minor unit of the shop's currency."""

    model_config = example(points=500, reason="welcome")

    points: Annotated[int, Field(ge=1, le=10**9)]
    reason: Annotated[Line, StringConstraints(min_length=1)]


class PointsAnswer(BaseModel):
    """The account after the command."""

    model_config = example(member_id="01a1fd9a-0f1b-7755-bf54-6e41f8a8e764", balance=500, version=1)

    member_id: str
    balance: int
    version: int


@router.post(
    "/members/{member_id}/charge-points",
    response_model=PointsAnswer,
    summary="Charge a member's points",
    **command(rules="`too-many-points`"),
)
async def charge_points(member_id: Id, body: ChargePoints, _: Staff, commands: UseCases) -> Response:
    """Top up a member's points, also of a buyer whom an outside identity provider knows; a first charge opens the
    account. `409 too-many-points` where it would come to hold more than 10^15."""
    if member_id == "me":
        # In the query API that is the caller: whoever writes it here means themselves, and would open another account.
        raise invalid_input((["path", "member_id"], "name the member by id"))
    return await commands.run(
        lambda uow: service.charge_points(uow, member_id, points=body.points, reason=body.reason), _answer
    )


def _answer(account: PointsAccount) -> dict[str, Any]:
    return {"member_id": account.id, "balance": account.balance, "version": account.version}
