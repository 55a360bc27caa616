"""``readside payment-simulator``: a card gateway for tests and demos, as a service of its own. It moves no money.

It is what `command.payments.http_gateway` talks to where no real one is: the same calls, keys and refusals.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal

from fastapi import APIRouter, FastAPI, Header, Query, Request
from pydantic import BaseModel, Field, StringConstraints
from starlette.responses import Response

from command.edge import Body
from command.payments.gateway import Charge, Declined, Refund
from command.payments.ledger import Booked, KeyReused, Ledger, NoSuchCharge, Voided
from command.payments.simulated import AnswerLost, NoAnswer, Simulation
from runtime.clock import rfc3339
from runtime.http import JsonResponse, make_app
from runtime.openapi import example, problems
from runtime.problems import Problem
from runtime.settings import Settings
from runtime.streams import ABORT

router = APIRouter(tags=["payments"])

MOST_CHARGES = 1000

Id = Annotated[str, StringConstraints(min_length=1, max_length=100)]
Minor = Annotated[int, Field(ge=1, le=10**15)]
Key = Annotated[str, Header(alias="Idempotency-Key", min_length=1, max_length=255, description="New for each charge.")]

_ID = "01a1fd9a-0f1b-7755-bf54-6e41f8a8e764"
_CHARGE_ID = "01a1fd9a-0f1b-7755-bf54-6e41f8a8e765"


class ChargeBody(Body):
    """What to charge; `amount` in minor units. What happens is written in the card token."""

    model_config = example(payment_id=_ID, amount=1980, currency="USD", card_token="tok_visa")  # noqa: S106

    payment_id: Id
    amount: Minor
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
    card_token: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = None


class RefundBody(Body):
    """What to send back: a whole charge."""

    model_config = example(payment_id=_ID, charge_id=_CHARGE_ID, amount=1980)

    payment_id: Id
    charge_id: Id
    amount: Minor


class VoidBody(Body):
    """Which payment there must not be."""

    model_config = example(payment_id=_ID)

    payment_id: Id


class CapturedAnswer(BaseModel):
    """The money is taken."""

    model_config = example(charge_id=_CHARGE_ID, status="captured")

    charge_id: str
    status: Literal["captured"]


class DeclinedAnswer(BaseModel):
    """The card does not pay."""

    model_config = example(code="card-declined", reason="The card was declined.")

    code: str
    reason: str


class RefundedAnswer(BaseModel):
    """The money is back."""

    model_config = example(charge_id=_CHARGE_ID, status="refunded")

    charge_id: str
    status: Literal["refunded"]


class VoidedAnswer(BaseModel):
    """There is no charge, and none will come; `refunded_amount` of one that there was."""

    model_config = example(payment_id=_ID, status="voided", refunded_amount=0)

    payment_id: str
    status: Literal["voided"]
    refunded_amount: int


class ChargeAnswer(BaseModel):
    """A charge in the ledger."""

    model_config = example(
        charge_id=_CHARGE_ID,
        payment_id=_ID,
        amount=1980,
        currency="USD",
        status="captured",
        charged_at="2026-11-21T06:34:12.000000Z",
        refunded_at=None,
    )

    charge_id: str
    payment_id: str
    amount: int
    currency: str
    status: Literal["captured", "refunded"]
    charged_at: str
    refunded_at: str | None


class ChargesAnswer(BaseModel):
    """Charges, newest first."""

    model_config = example(items=[])

    items: list[ChargeAnswer]


@router.post(
    "/charges",
    response_model=CapturedAnswer,
    summary="Charge a card",
    responses={
        402: {"model": DeclinedAnswer, "description": "Declined"},
        **problems(
            {
                409: "`payment-voided`: the payment was voided",
                415: "`unsupported-media-type`: not `application/json`",
                422: "`invalid-input`: see `errors`, `idempotency-key-reused`",
                503: "`unavailable`: the card wants it so",
            }
        ),
    },
)
async def charge(body: ChargeBody, key: Key, request: Request) -> Response:
    """Once per payment: asked again, under the same key or another, it answers the same and charges nothing more."""
    asked = Charge(body.payment_id, body.amount, body.currency, body.card_token)
    try:
        answer = await _simulation(request).charge(asked, key)
    except NoAnswer:
        raise _unavailable() from None
    except AnswerLost:
        request.scope["extensions"][ABORT]["call"]()
        return Response()
    except Voided:
        raise Problem(409, "payment-voided", "The payment was voided.") from None
    except KeyReused:
        detail = "This key belongs to another charge, or the payment was asked for another amount."
        raise Problem(422, "idempotency-key-reused", detail) from None
    if isinstance(answer, Declined):
        return JsonResponse({"code": answer.code, "reason": answer.reason}, 402)
    return JsonResponse({"charge_id": answer.charge_id, "status": "captured"})


@router.post(
    "/refunds",
    response_model=RefundedAnswer,
    summary="Refund a charge",
    responses=problems(
        {
            404: "`not-found`: there is no such charge of this amount",
            415: "`unsupported-media-type`: not `application/json`",
            503: "`unavailable`: the card wants it so",
        }
    ),
)
async def refund(body: RefundBody, request: Request) -> Response:
    """Once per charge: asked again it answers the same, and sends nothing more."""
    try:
        booked = await _simulation(request).refund(Refund(body.payment_id, body.charge_id, body.amount))
    except NoAnswer:
        raise _unavailable() from None
    except NoSuchCharge:
        raise Problem(404, "not-found", "There is no such charge of this amount.") from None
    return JsonResponse({"charge_id": booked.charge_id, "status": "refunded"})


@router.post(
    "/voids",
    response_model=VoidedAnswer,
    summary="Void a payment",
    responses=problems({415: "`unsupported-media-type`: not `application/json`"}),
)
async def void(body: VoidBody, request: Request) -> Response:
    """Refund a charge of this payment if there is one, and refuse those that come later."""
    booked = await _simulation(request).void(body.payment_id)
    amount = booked.amount if booked is not None else 0
    return JsonResponse({"payment_id": body.payment_id, "status": "voided", "refunded_amount": amount})


@router.get("/charges", response_model=ChargesAnswer, summary="What was charged")
async def charges(
    request: Request,
    payment_id: Id | None = None,
    limit: Annotated[int, Query(ge=1, le=MOST_CHARGES)] = 100,
) -> Response:
    """The latest charges, of one payment or of all, newest first."""
    ledger: Ledger = request.app.state.ledger
    found = await asyncio.to_thread(ledger.charges, payment_id, limit=limit)
    return JsonResponse({"items": [_shown(booked) for booked in found]})


def create_app(settings: Settings) -> FastAPI:
    """The application, on the ledger of the data directory."""
    ledger = Ledger(settings.data_dir)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        ledger.close()

    async def ledger_opens() -> None:
        await asyncio.to_thread(ledger.charges, limit=1)

    app = make_app(
        "Readside payment simulator",
        "A card gateway that moves no money: what it does is written in the card token.",
        lifespan=lifespan,
        checks={"Ledger": ledger_opens},
    )
    app.state.ledger = ledger
    app.state.simulation = Simulation(ledger)
    app.include_router(router)
    return app


def _simulation(request: Request) -> Simulation:
    found: Simulation = request.app.state.simulation
    return found


def _unavailable() -> Problem:
    return Problem(503, "unavailable", "The card wants no answer.", headers={"Retry-After": "1"})


def _shown(booked: Booked) -> dict[str, Any]:
    return {
        "charge_id": booked.charge_id,
        "payment_id": booked.payment_id,
        "amount": booked.amount,
        "currency": booked.currency,
        "status": "captured" if booked.refunded_at is None else "refunded",
        "charged_at": rfc3339(booked.charged_at),
        "refunded_at": rfc3339(booked.refunded_at) if booked.refunded_at else None,
    }
