"""HTTP of the coupons context. Staff define and issue; members claim. They are used by placing an order."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, BeforeValidator, Field, WithJsonSchema, model_validator
from starlette.responses import Response

from command.coupons import service
from command.coupons.model import Coupon, IssuedCoupon, Terms
from command.documented import command
from command.edge import Body, Customer, Id, Name, Staff, UseCases
from runtime.clock import now
from runtime.openapi import example
from runtime.times import read_instant

router = APIRouter(prefix="/coupons", tags=["coupons"])

Amount = Annotated[int, Field(ge=0, le=10**12)]
Limit = Annotated[int, Field(ge=1, le=10**12)]


def _instant(value: object) -> datetime:
    if not isinstance(value, str):
        raise ValueError("not an RFC 3339 time with an offset")
    return read_instant(value)


Instant = Annotated[datetime, BeforeValidator(_instant), WithJsonSchema({"type": "string", "format": "date-time"})]


class DefineCoupon(Body):
    """A coupon: `value` percent, or an amount in minor units, off an order of at least `minimum_amount`.

    Valid from `valid_from` (now, if not given) and until before `valid_until`. Without limits as many are issued as are
    asked for. `is_claimable`: members may claim one for themselves.
    """

    model_config = example(
        coupon_code="SPRING10",
        name="Ten percent off in spring",
        kind="percent",
        value=10,
        minimum_amount=1000,
        valid_until="2027-06-01T00:00:00Z",
        total_limit=500,
        per_member_limit=1,
        is_claimable=True,
    )

    coupon_code: Id
    name: Name
    kind: Literal["percent", "amount"]
    value: Limit
    minimum_amount: Amount = 0
    valid_from: Instant | None = None
    valid_until: Instant
    total_limit: Limit | None = None
    per_member_limit: Limit | None = None
    is_claimable: bool = False

    @model_validator(mode="after")
    def _takes_no_more_than_all(self) -> "DefineCoupon":
        if self.kind == "percent" and self.value > 100:
            raise ValueError("a percent coupon takes off 100 percent at most")
        return self

    def terms(self, currency: str) -> Terms:
        """As the domain's value."""
        return Terms(
            name=self.name,
            kind=self.kind,
            value=self.value,
            currency=currency,
            minimum_amount=self.minimum_amount,
            valid_from=self.valid_from or now(),
            valid_until=self.valid_until,
        )


class IssueCoupon(Body):
    """To whom."""

    model_config = example(member_id="01a1fd9a-0f1b-7755-bf54-6e41f8a8e764")

    member_id: Id


class CouponAnswer(BaseModel):
    """The coupon after the command."""

    model_config = example(coupon_code="SPRING10", version=1)

    coupon_code: str
    version: int


class IssuedCouponAnswer(CouponAnswer):
    """The coupon that the member holds now; `version` is its own."""

    model_config = example(coupon_id="01a1fd9a-0f1b-7755-bf54-6e41f8a8e764", coupon_code="SPRING10", version=1)

    coupon_id: str


_issuing = command(
    201, rules="`coupon-sold-out`, `coupon-limit-reached`, `coupon-expired`", makes=True, of_another=True
)


@router.post(
    "",
    response_model=CouponAnswer,
    summary="Define a coupon",
    **command(201, rules="`coupon-already-defined`", invalid="`ends-before-it-begins`", makes=True),
)
async def define_coupon(body: DefineCoupon, request: Request, _: Staff, commands: UseCases) -> Response:
    """Enter a coupon, which never changes after; `409 coupon-already-defined` where the code is taken."""
    terms = body.terms(request.app.state.settings.currency)
    return await commands.run(
        lambda uow: service.define_coupon(
            uow,
            body.coupon_code,
            terms=terms,
            total_limit=body.total_limit,
            per_member_limit=body.per_member_limit,
            is_claimable=body.is_claimable,
        ),
        _defined,
        status=201,
        location="/coupons/{id}",
    )


@router.post("/{coupon_code}/issue", response_model=IssuedCouponAnswer, summary="Give a member a coupon", **_issuing)
async def issue_coupon(coupon_code: Id, body: IssueCoupon, _: Staff, commands: UseCases) -> Response:
    """Issue one, within the limits; the member may use it for one order, once it is valid."""
    return await commands.run(
        lambda uow: service.issue_coupon(uow, coupon_code, member_id=body.member_id), _issued, status=201
    )


@router.post("/{coupon_code}/claim", response_model=IssuedCouponAnswer, summary="Claim a coupon", **_issuing)
async def claim_coupon(coupon_code: Id, caller: Customer, commands: UseCases) -> Response:
    """Take one for oneself, where that is offered and the limits allow it."""
    return await commands.run(
        lambda uow: service.claim_coupon(uow, coupon_code, member_id=caller.subject),
        _issued,
        status=201,
        location="/members/me/coupons",
    )


def _defined(coupon: Coupon) -> dict[str, Any]:
    return {"coupon_code": coupon.id, "version": coupon.version}


def _issued(issued: IssuedCoupon) -> dict[str, Any]:
    return {"coupon_id": issued.id, "coupon_code": issued.coupon_code, "version": issued.version}
