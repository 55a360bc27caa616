"""What answers about points look like, for OpenAPI; a test holds the documents to it."""

from typing import Literal

from query.answers import Answer
from runtime.openapi import example

_AT = "2026-11-21T09:07:03.332313Z"


class PointsEntry(Answer):
    """`points` is what the balance changed by, below zero for what was used; `balance` what it then was."""

    kind: Literal["charged", "used", "returned"]
    points: int
    balance: int
    order_id: str | None
    payment_id: str | None
    reason: str | None
    at: str


class PointsAnswer(Answer):
    """`balance` is `charged - used + returned`, which are of all time; `entries` the newest 100 changes.

    A point is worth one minor unit of the shop's currency.
    """

    model_config = example(
        member_id="01a1fd92-dea4-71e9-8101-fab87600b3ad",
        balance=300,
        version=2,
        charged=500,
        used=200,
        returned=0,
        entries=[
            {
                "kind": "used",
                "points": -200,
                "balance": 300,
                "order_id": "01a1fd92-dea5-72b4-9ebd-f38eef0652b2",
                "payment_id": "01a1fd9a-0f1b-7755-bf54-6e41f8a8e764",
                "reason": None,
                "at": _AT,
            },
            {
                "kind": "charged",
                "points": 500,
                "balance": 500,
                "order_id": None,
                "payment_id": None,
                "reason": "welcome",
                "at": _AT,
            },
        ],
        updated_at=_AT,
    )

    member_id: str
    balance: int
    version: int
    charged: int
    used: int
    returned: int
    entries: list[PointsEntry]
    updated_at: str | None
