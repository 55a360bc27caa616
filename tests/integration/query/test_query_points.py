"""Points as the query API serves them."""

import pytest
from pydantic import TypeAdapter

from query.point_answers import PointsAnswer
from tests.integration.query.shop import INSTANCES, PLACED_AT, Api, Shop, token
from views.points_account import Entry, PointsAccount

NONE = {"balance": 0, "version": 0, "charged": 0, "used": 0, "returned": 0, "entries": [], "updated_at": None}


def an_account(member_id: str = "ann") -> PointsAccount:
    """Charged once, used once."""
    return PointsAccount(
        id=member_id,
        balance=300,
        version=2,
        charged=500,
        used=200,
        entries=(
            Entry(kind="used", points=-200, balance=300, order_id="o-1", payment_id="pay-1", at=PLACED_AT),
            Entry(kind="charged", points=500, balance=500, reason="welcome", at=PLACED_AT),
        ),
        updated_at=PLACED_AT,
    )


async def test_a_members_points(api: Api, shop: Shop) -> None:
    await shop.put("points_account", an_account())
    answer = await api.get("/members/ann/points", "ann")
    used = {"kind": "used", "points": -200, "balance": 300, "order_id": "o-1", "payment_id": "pay-1", "reason": None}
    charged = {"kind": "charged", "points": 500, "balance": 500, "order_id": None, "payment_id": None}
    assert answer.json() == {
        "member_id": "ann",
        "balance": 300,
        "version": 2,
        "charged": 500,
        "used": 200,
        "returned": 0,
        "entries": [{**used, "at": PLACED_AT}, {**charged, "reason": "welcome", "at": PLACED_AT}],
        "updated_at": PLACED_AT,
    }
    assert answer.headers["read-model-position"] == "10"
    TypeAdapter(PointsAnswer).validate_json(answer.content, strict=True)
    assert (await api.get("/members/me/points", "ann")).json() == answer.json()


@pytest.mark.parametrize(("path", "caller"), [("/members/me/points", "ann"), ("/members/ann/points", "staff")])
async def test_who_never_had_points_has_none(api: Api, path: str, caller: str) -> None:
    answer = await api.get(path, caller)
    assert (answer.status_code, answer.json()) == (200, {"member_id": "ann", **NONE})
    assert "read-model-state" not in answer.headers
    TypeAdapter(PointsAnswer).validate_json(answer.content, strict=True)


@pytest.mark.parametrize(
    ("caller", "status"), [("ann", 200), ("bob", 404), ("staff", 200), ("operator", 403), (None, 401)]
)
@pytest.mark.parametrize("has_points", [True, False])
async def test_points_are_seen_by_their_member_and_by_staff_and_nobody_else_learns_whether_there_are_any(
    api: Api, shop: Shop, caller: str | None, status: int, has_points: bool
) -> None:
    if has_points:
        await shop.put("points_account", an_account())
    assert (await api.get("/members/ann/points", caller)).status_code == status


async def test_points_wait_for_the_callers_own_charge(api: Api, shop: Shop) -> None:
    await shop.put("points_account", an_account())
    behind = await api.get("/members/me/points", "ann", headers=token(200) | {"Prefer": "wait=0"})
    assert (behind.status_code, behind.json()["type"]) == (503, "/problems/read-model-behind")
    await shop.advance("points_account", 20, "300:300:")
    assert (await api.get("/members/me/points", "ann", headers=token(200))).json()["balance"] == 300


async def test_points_of_which_a_change_waits_behind_a_dead_letter_say_so(api: Api, shop: Shop) -> None:
    await shop.put("points_account", an_account(), _parked=True)
    answer = await api.get("/members/me/points", "ann")
    assert (answer.status_code, answer.headers["read-model-state"]) == (200, "parked")
    assert "_parked" not in answer.json()


async def test_points_of_which_the_very_first_change_waits_are_not_just_told_to_be_none(api: Api, shop: Shop) -> None:
    letter = {"instance": INSTANCES["points_account"], "documents": ["ann"], "state": "failed"}
    await shop.database["dead_letters"].insert_one(letter)
    answer = await api.get("/members/me/points", "ann")
    assert (answer.json()["balance"], answer.headers["read-model-state"]) == (0, "parked")
    with_token = await api.get("/members/me/points", "ann", headers=token(50))
    assert (with_token.status_code, with_token.json()["type"]) == (503, "/problems/read-model-parked")
