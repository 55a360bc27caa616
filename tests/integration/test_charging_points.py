"""Staff charge points: over the ASGI application and a real Postgres."""

import asyncio
from typing import Any

import httpx
import pytest

from command.points.model import LARGEST_BALANCE
from tests.integration.commanding import Shop, problem, shop

__all__ = ["shop"]

MOST_AT_ONCE = 10**9


async def charge(
    shop: Shop, points: Any = 500, member_id: str = "ann", *, headers: dict[str, str] | None = None, **body: Any
) -> httpx.Response:
    """Charge as staff."""
    sent = {"points": points, "reason": "welcome"} | body
    return await shop.client.post(
        f"/members/{member_id}/charge-points", json=sent, headers=shop.staff | (headers or {})
    )


async def balance(shop: Shop, member_id: str = "ann") -> int | None:
    """Straight from the database."""
    rows = await shop.rows("SELECT balance FROM points_accounts WHERE member_id = $1", member_id)
    return rows[0]["balance"] if rows else None


async def test_a_charge_tells_what_there_is_now_and_is_in_the_ledger(shop: Shop) -> None:
    first, second = await charge(shop), await charge(shop, 20, reason="birthday")

    assert first.json() == {"member_id": "ann", "balance": 500, "version": 1}
    assert second.json() == {"member_id": "ann", "balance": 520, "version": 2}
    assert (second.status_code, second.headers["etag"]) == (200, '"2"')
    assert "consistency-token" in second.headers
    assert await shop.events_of("ann") == [(1, "PointsCharged"), (2, "PointsCharged")]
    ledger = await shop.rows("SELECT kind, points, balance, payment_id, reason FROM points_ledger ORDER BY version")
    assert [tuple(entry) for entry in ledger] == [
        ("charged", 500, 500, None, "welcome"),
        ("charged", 20, 520, None, "birthday"),
    ]


@pytest.mark.parametrize("points", [0, -1, MOST_AT_ONCE + 1, 1.5, "5", None, True])
async def test_what_is_no_number_of_points_is_refused(shop: Shop, points: object) -> None:
    assert problem(await charge(shop, points)) == (422, "invalid-input")
    assert await balance(shop) is None


@pytest.mark.parametrize("reason", ["", None, "x" * 301, "\x00"])
async def test_a_charge_needs_a_reason(shop: Shop, reason: object) -> None:
    assert problem(await charge(shop, reason=reason)) == (422, "invalid-input")


async def test_as_many_as_may_be_charged_at_once_can_be(shop: Shop) -> None:
    assert (await charge(shop, MOST_AT_ONCE)).json()["balance"] == MOST_AT_ONCE


async def test_no_account_is_charged_beyond_what_it_may_hold(shop: Shop) -> None:
    await charge(shop, 1)
    await shop.rows("UPDATE points_accounts SET balance = $1", LARGEST_BALANCE - 5)

    assert problem(await charge(shop, 6)) == (409, "too-many-points")
    assert (await charge(shop, 5)).json()["balance"] == LARGEST_BALANCE


async def test_only_staff_charge(shop: Shop) -> None:
    answer = await charge(shop, headers=shop.ann)

    assert problem(answer) == (403, "forbidden")
    assert await balance(shop) is None


async def test_me_is_nobody_to_charge(shop: Shop) -> None:
    answer = await charge(shop, member_id="me")

    assert problem(answer) == (422, "invalid-input")
    assert answer.json()["errors"] == [{"loc": ["path", "member_id"], "msg": "name the member by id"}]


async def test_a_charge_that_is_sent_again_counts_once(shop: Shop) -> None:
    keyed = {"Idempotency-Key": "welcome-ann"}

    answers = [await charge(shop, headers=keyed) for _ in range(2)]

    assert answers[0].json() == answers[1].json()
    assert answers[1].headers["idempotent-replayed"] == "true"
    assert await balance(shop) == 500


@pytest.mark.parametrize(("if_match", "status"), [('"1"', 200), ("*", 200), ('"2"', 412)])
async def test_a_charge_may_count_on_what_its_caller_has_seen(shop: Shop, if_match: str, status: int) -> None:
    await charge(shop)

    assert (await charge(shop, 20, headers={"If-Match": if_match})).status_code == status
    assert await balance(shop) == (520 if status == 200 else 500)


async def test_an_account_that_does_not_exist_yet_matches_nothing(shop: Shop) -> None:
    assert problem(await charge(shop, headers={"If-Match": "*"})) == (412, "stale-version")


async def test_of_many_first_charges_at_once_none_is_refused_and_all_count(shop: Shop) -> None:
    answers = await asyncio.gather(*(charge(shop, 10) for _ in range(30)))

    assert {answer.status_code for answer in answers} == {200}
    assert sorted(answer.json()["balance"] for answer in answers) == [10 * n for n in range(1, 31)]
    assert await balance(shop) == 300
