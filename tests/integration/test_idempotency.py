"""Commands that are sent again: over the ASGI application and a real Postgres."""

import asyncio
from collections import Counter
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from command.idempotency import sweep, sweeping
from command.members import routes as members_routes
from runtime.postgres import make_engine
from runtime.settings import Settings
from tests.integration.commanding import PASSWORD, SHIPPING_INFO, Shop, problem, shop
from tests.integration.projecting import until

__all__ = ["shop"]

ORDER = {"lines": [{"product_id": "p-1", "quantity": 1}], "shipping_info": SHIPPING_INFO}
COUPON = {
    "coupon_code": "TEN",
    "name": "Ten percent off",
    "kind": "percent",
    "value": 10,
    "valid_until": "2999-01-01T00:00:00Z",
    "is_claimable": True,
}
SIGN_UP = {"email": "ann@example.com", "name": "Ann", "password": PASSWORD}


async def keyed(
    shop: Shop, path: str, body: Any, *, key: str = "k-1", by: dict[str, str] | None = None
) -> httpx.Response:
    """POST under a key; by Ann unless told otherwise."""
    caller = shop.ann if by is None else by
    return await shop.client.post(path, json=body, headers=caller | {"Idempotency-Key": key})


def told(answer: httpx.Response) -> tuple[Any, ...]:
    """What must be the same the second time."""
    names = ("etag", "consistency-token", "location", "content-type")
    return (answer.status_code, answer.content, *(answer.headers.get(name) for name in names))


async def orders(shop: Shop) -> int:
    """How many were placed."""
    return len(await shop.rows("SELECT 1 FROM outbox WHERE event_type = 'OrderPlaced'"))


async def test_a_retry_gets_the_first_answer_and_has_no_effect(shop: Shop) -> None:
    await shop.product()

    first = await keyed(shop, "/orders", ORDER)
    again = await keyed(shop, "/orders", dict(reversed(ORDER.items())))

    assert first.status_code == 201
    assert told(again) == told(first)
    assert ("idempotent-replayed" in first.headers, again.headers["idempotent-replayed"]) == (False, "true")
    assert (await orders(shop), await shop.available()) == (1, 9)


async def test_a_retry_gets_the_answer_of_then_not_of_now(shop: Shop) -> None:
    await shop.product()
    order_id = await shop.placed()
    order = f"/orders/{order_id}"

    paid = await keyed(shop, f"{order}/pay", {"method": "card"})
    await shop.settled(order_id)
    await shop.post(f"{order}/cancel", {"reason": "mistake"})
    again = await keyed(shop, f"{order}/pay", {"method": "card"})

    assert (paid.json()["status"], told(again)) == ("PAYMENT_WAITING", told(paid))


async def test_every_post_honours_it(shop: Shop) -> None:
    await keyed(shop, "/products", {"product_id": "p-1", "name": "Mug", "category": "c", "unit_price": 5, "stock": 9})
    member = await shop.client.post("/members", json=SIGN_UP)
    me = shop.as_(member.json()["member_id"], "customer")
    product = {"product_id": "p-1", "name": "Mug", "category": "c", "unit_price": 5, "stock": 9}
    calls: list[tuple[str, Any, dict[str, str]]] = [
        ("/products", product, shop.staff),
        ("/products/p-1/adjust-stock", {"delta": 1, "reason": "found"}, shop.staff),
        ("/members/me/change-password", {"current_password": PASSWORD, "new_password": "battery staple"}, me),
        ("/coupons", COUPON, shop.staff),
        ("/coupons/TEN/issue", {"member_id": "ben"}, shop.staff),
        ("/coupons/TEN/claim", None, me),
        ("/orders", ORDER, me),
    ]
    answers = [(await keyed(shop, *call[:2], by=call[2], key=call[0])) for call in calls]
    order = f"/orders/{answers[-1].json()['order_id']}"
    later: list[tuple[str, Any, dict[str, str]]] = [
        (f"{order}/change-shipping-info", SHIPPING_INFO, me),
        (f"{order}/pay", {"method": "card"}, me),
        (f"{order}/ship", {"carrier": "Post", "tracking_number": "1"}, shop.staff),
        (f"{order}/start-delivery", None, shop.staff),
        (f"{order}/complete-delivery", None, shop.staff),
    ]
    for call in later:
        answers.append(await keyed(shop, *call[:2], by=call[2], key=call[0]))
        if call[0].endswith("/pay"):
            await shop.settled(order.removeprefix("/orders/"))

    again = [(await keyed(shop, *call[:2], by=call[2], key=call[0])) for call in calls + later]

    assert [answer.status_code for answer in answers] == [201, 200, 200, 201, 201, 201, 201, 200, 202, 200, 200, 200]
    assert [told(answer) for answer in again] == [told(answer) for answer in answers]
    assert {answer.headers["idempotent-replayed"] for answer in again} == {"true"}


@pytest.mark.parametrize(
    ("path", "body"), [("/orders", ORDER | {"lines": [{"product_id": "p-1", "quantity": 2}]}), ("/orders/x/pay", None)]
)
async def test_a_key_is_for_one_call_and_one_body(shop: Shop, path: str, body: Any) -> None:
    await shop.product()
    await keyed(shop, "/orders", ORDER)

    other = await keyed(shop, path, body or {"method": "card"})

    assert problem(other) == (422, "idempotency-key-reused")
    assert await orders(shop) == 1


async def test_a_key_belongs_to_one_caller(shop: Shop) -> None:
    await shop.product()

    answers = [await keyed(shop, "/orders", ORDER, by=shop.as_(name, "customer")) for name in ("ann", "ben")]

    assert [answer.status_code for answer in answers] == [201, 201]
    assert len({answer.json()["order_id"] for answer in answers}) == 2


async def test_a_subject_cannot_pass_for_nobody(shop: Shop) -> None:
    await shop.product()
    await keyed(shop, "/members", SIGN_UP, by={})

    mine = await keyed(shop, "/orders", ORDER, by=shop.as_("anonymous", "customer"))

    assert mine.status_code == 201


@pytest.mark.parametrize("key", ["", "x" * 256, "a\tb"])
async def test_what_is_no_key_is_422(shop: Shop, key: str) -> None:
    await shop.product()

    assert problem(await keyed(shop, "/orders", ORDER, key=key)) == (422, "invalid-input")
    assert (await keyed(shop, "/orders", ORDER, key="x" * 255)).status_code == 201
    assert await orders(shop) == 1


async def test_a_refusal_is_not_remembered(shop: Shop) -> None:
    await shop.product(stock=0)

    refused = await keyed(shop, "/orders", ORDER)
    await shop.post("/products/p-1/adjust-stock", {"delta": 5, "reason": "came"}, by=shop.staff)
    accepted = await keyed(shop, "/orders", ORDER)

    assert (problem(refused), accepted.status_code) == ((409, "insufficient-stock"), 201)
    assert "idempotent-replayed" not in accepted.headers


async def test_twenty_at_once_have_one_effect(shop: Shop) -> None:
    await shop.product()

    answers = await asyncio.gather(*(keyed(shop, "/orders", ORDER) for _ in range(20)))

    placed = [answer for answer in answers if answer.status_code == 201]
    assert {problem(answer) for answer in answers if answer.status_code != 201} <= {(409, "request-in-progress")}
    assert Counter("idempotent-replayed" in answer.headers for answer in placed)[False] == 1
    assert len({told(answer) for answer in placed}) == 1
    assert (await orders(shop), await shop.available()) == (1, 9)


async def test_twenty_at_once_in_twenty_processes_have_one_effect(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without what one process knows of itself: the lock in the database alone must hold."""
    await shop.product()
    monkeypatch.setattr("command.idempotency.IdempotencyKeys.running", _anything_runs)

    answers = await asyncio.gather(*(keyed(shop, "/orders", ORDER) for _ in range(20)))

    placed = [answer for answer in answers if answer.status_code == 201]
    assert {problem(answer) for answer in answers if answer.status_code != 201} <= {(409, "request-in-progress")}
    assert Counter("idempotent-replayed" in answer.headers for answer in placed)[False] == 1
    assert (await orders(shop), await shop.available()) == (1, 9)


async def test_while_the_first_runs_in_another_process_a_duplicate_does_not_wait(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    await shop.product()
    monkeypatch.setattr("command.idempotency.IdempotencyKeys.running", _anything_runs)
    assert settings.postgres_url is not None
    engine = make_engine(settings.postgres_url, "test")
    async with engine.connect() as connection:
        await connection.execute(text("LOCK TABLE orders"))
        first = asyncio.create_task(keyed(shop, "/orders", ORDER))
        while not await shop.rows("SELECT 1 FROM pg_locks WHERE relation = 'orders'::regclass AND NOT granted"):
            assert not first.done()
        duplicate = await asyncio.wait_for(keyed(shop, "/orders", ORDER), 60)
        await connection.rollback()
    await engine.dispose()

    assert problem(duplicate) == (409, "request-in-progress")
    assert duplicate.headers["retry-after"] == "1"
    assert (await first).status_code == 201


async def test_a_crash_between_commit_and_answer_loses_neither(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that committed is gone, with all that it knew; the retry reaches another one."""
    await shop.product()
    with monkeypatch.context() as crash:
        crash.setattr("command.unit_of_work.Doorbell.ring", _die)
        with pytest.raises(RuntimeError, match="killed"):
            await keyed(shop, "/orders", ORDER)

    again = await keyed(shop, "/orders", ORDER)

    (order,) = await shop.rows("SELECT order_id FROM orders")
    assert (again.status_code, again.json()["order_id"]) == (201, order["order_id"])
    assert again.headers["idempotent-replayed"] == "true"


class TestSigningUp:
    """A call without a token."""

    async def test_a_retry_signs_up_once_and_hashes_once(self, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
        hashed = []

        async def hash_password(password: str) -> str:
            hashed.append(password)
            return "hash"

        monkeypatch.setattr(members_routes, "hash_password", hash_password)
        first = await keyed(shop, "/members", SIGN_UP, by={})
        again = await keyed(shop, "/members", SIGN_UP, by={})

        assert (first.status_code, told(again), hashed) == (201, told(first), [PASSWORD])

    @pytest.mark.parametrize("field", ["email", "name", "password"])
    async def test_the_answer_is_for_who_knows_the_whole_body(self, shop: Shop, field: str) -> None:
        await keyed(shop, "/members", SIGN_UP, by={})

        stranger = await keyed(shop, "/members", SIGN_UP | {field: "other@example.com"}, by={})

        assert problem(stranger) == (422, "idempotency-key-reused")

    async def test_nothing_that_is_kept_holds_the_password(self, shop: Shop) -> None:
        await keyed(shop, "/members", SIGN_UP, by={})

        (row,) = await shop.rows("SELECT idempotency_keys::text AS kept FROM idempotency_keys")

        assert PASSWORD not in row["kept"]
        assert PASSWORD.encode().hex() not in row["kept"]


class TestExpiry:
    """A key counts for 24 hours."""

    async def test_an_older_key_may_be_used_anew(self, shop: Shop) -> None:
        await shop.product()
        await keyed(shop, "/orders", ORDER)
        await self.age(shop, "24 hours")

        anew = await keyed(shop, "/orders", ORDER)
        again = await keyed(shop, "/orders", ORDER)

        assert ("idempotent-replayed" in anew.headers, told(again)) == (False, told(anew))
        assert await orders(shop) == 2

    async def test_only_what_has_expired_is_swept_however_much(
        self, shop: Shop, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await shop.product()
        for key in "abcde":
            await keyed(shop, "/orders", ORDER, key=key)
        await self.age(shop, "24 hours")
        await keyed(shop, "/orders", ORDER, key="young")
        monkeypatch.setattr("command.idempotency.SWEEP_BATCH", 2)
        assert settings.postgres_url is not None
        engine = make_engine(settings.postgres_url, "test")

        swept = await sweep(engine)
        await engine.dispose()

        left = [row["key"] for row in await shop.rows("SELECT key FROM idempotency_keys")]
        assert (swept, left) == (5, ["young"])

    async def test_the_process_sweeps_by_itself(self, shop: Shop, settings: Settings) -> None:
        await shop.product()
        await keyed(shop, "/orders", ORDER)
        assert settings.postgres_url is not None
        engine = make_engine(settings.postgres_url, "test")

        async def is_swept() -> bool:
            return await shop.rows("SELECT 1 FROM idempotency_keys") == []

        async with sweeping(engine, every_seconds=0.05):
            await self.age(shop, "24 hours")
            await until(is_swept, "the key to be swept")
        await engine.dispose()

    async def age(self, shop: Shop, by: str) -> None:
        """Make every key older."""
        await shop.rows("UPDATE idempotency_keys SET created_at = created_at - $1::text::interval", by)


def _anything_runs(*_: Any) -> Any:
    from contextlib import nullcontext

    return nullcontext()


def _die(*_: Any) -> None:
    raise RuntimeError("killed")
