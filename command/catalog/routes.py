"""HTTP of the catalog context."""

from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field, StringConstraints, field_validator
from starlette.responses import Response

from command.catalog import service
from command.catalog.model import Product
from command.documented import command
from command.edge import Body, Id, Line, Name, Staff, UseCases
from command.partial import PartialBody, partial_example
from runtime.openapi import example
from runtime.problems import invalid_input

router = APIRouter(tags=["catalog"])

Minor = Annotated[int, Field(ge=0, le=10**12)]
Pieces = Annotated[int, Field(ge=0, le=10**12)]
Category = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]*$")
]


class RegisterProduct(Body):
    """A product; `unit_price` in minor units, `currency` the shop's."""

    model_config = example(product_id="mug-blue", name="Mug, blue", category="kitchen", unit_price=990, stock=120)

    product_id: Id
    name: Name
    category: Category
    unit_price: Minor
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")] | None = None
    stock: Pieces


class ChangeProduct(PartialBody):
    """What changes; at least one."""

    model_config = partial_example(unit_price=1090)

    name: Name | None = None
    category: Category | None = None
    unit_price: Minor | None = None


class AdjustStock(Body):
    """How many pieces came or went, and why."""

    model_config = example(delta=-3, reason="broken in the store room")

    delta: Annotated[int, Field(ge=-(10**12), le=10**12, json_schema_extra={"not": {"const": 0}})]
    reason: Annotated[Line, StringConstraints(min_length=1)]

    @field_validator("delta")
    @classmethod
    def _is_a_change(cls, value: int) -> int:
        if value == 0:
            raise ValueError("a delta of 0 changes nothing")
        return value


class ProductAnswer(BaseModel):
    """The product after the command."""

    model_config = example(product_id="mug-blue", version=4)

    product_id: str
    version: int


@router.post(
    "/products",
    response_model=ProductAnswer,
    summary="Register a product",
    **command(201, rules="`product-already-registered`", makes=True),
)
async def register_product(body: RegisterProduct, request: Request, _: Staff, commands: UseCases) -> Response:
    """Enter a product; `409 product-already-registered` where the id is taken."""
    currency: str = request.app.state.settings.currency
    if body.currency is not None and body.currency != currency:
        raise invalid_input((["body", "currency"], f"this shop's currency is {currency}"))
    return await commands.run(
        lambda uow: service.register_product(
            uow,
            body.product_id,
            name=body.name,
            category=body.category,
            unit_price=body.unit_price,
            currency=currency,
            stock=body.stock,
        ),
        _answer,
        status=201,
        location="/products/{id}",
    )


@router.patch("/products/{product_id}", response_model=ProductAnswer, summary="Change a product", **command())
async def change_product(product_id: Id, body: ChangeProduct, _: Staff, commands: UseCases) -> Response:
    """Change name, category or price; orders placed before keep theirs."""
    return await commands.run(
        lambda uow: service.change_details(
            uow, product_id, name=body.name, category=body.category, unit_price=body.unit_price
        ),
        _answer,
    )


@router.post(
    "/products/{product_id}/adjust-stock",
    response_model=ProductAnswer,
    summary="Book stock in or out",
    **command(rules="`insufficient-stock`"),
)
async def adjust_stock(product_id: Id, body: AdjustStock, _: Staff, commands: UseCases) -> Response:
    """Add or take pieces; `409 insufficient-stock` where that would leave less than none."""
    return await commands.run(
        lambda uow: service.adjust_stock(uow, product_id, delta=body.delta, reason=body.reason), _answer
    )


def _answer(product: Product) -> dict[str, Any]:
    return {"product_id": product.id, "version": product.version}
