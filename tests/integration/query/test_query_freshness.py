"""What answers say about how fresh they are, and how they wait for what a caller has done."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pymongo import AsyncMongoClient
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

from query.freshness import Checkpoint
from runtime.mongo import ReadDatabase
from runtime.settings import Settings
from tests.integration.query.posts import a_post
from tests.integration.query.shop import INSTANCES, Api, Shop, a_member, a_product, an_order, token

WAIT = {"Prefer": "wait=20"}
AT_ONCE = {"Prefer": "wait=0"}
NONE = Checkpoint(instance="", view="", version=0, position=0)
VIEW_OF = {
    "/orders/o-1": "order_detail",
    "/orders": "order_detail",
    "/statistics/sales": "sales_statistics",
    "/statistics/products": "sales_statistics",
    "/products/p-1": "product_catalog",
    "/products": "product_catalog",
    "/members/ann": "member_profile",
    "/posts/post-1": "posts",
    "/posts": "posts",
}


@pytest.fixture
async def filled(shop: Shop) -> Shop:
    await shop.put("order_detail", an_order())
    await shop.put("product_catalog", a_product())
    await shop.put("member_profile", a_member())
    await shop.put("posts", a_post())
    return shop


@pytest.mark.parametrize("path", VIEW_OF)
async def test_a_token_that_the_view_has_seen_is_answered_at_once(api: Api, filled: Shop, path: str) -> None:
    answer = await api.get(path, headers=token(99) | AT_ONCE)
    assert answer.status_code == 200
    assert answer.headers["preference-applied"] == "wait=0"
    assert answer.headers["read-model-position"] == "10"
    assert answer.headers["read-model-lag-seconds"]


@pytest.mark.parametrize("path", VIEW_OF)
async def test_a_token_that_the_view_has_not_seen_in_time_is_a_503(api: Api, filled: Shop, path: str) -> None:
    for view in set(VIEW_OF.values()) - {VIEW_OF[path]}:
        await filled.advance(view, 11, "101:101:")
    answer = await api.get(path, headers=token(100) | AT_ONCE)
    assert answer.status_code == 503
    assert answer.json()["type"] == "/problems/read-model-behind"
    assert answer.headers["retry-after"] == "1"


@pytest.mark.parametrize("path", [path for path in VIEW_OF if path != "/statistics/products"])
async def test_a_query_waits_until_its_view_has_seen_the_token(api: Api, filled: Shop, path: str) -> None:
    asked = asyncio.create_task(api.get(path, headers=token(100) | WAIT))
    await filled.advance(VIEW_OF[path], 11, "100:101:100")  # still running at that moment
    await filled.advance(VIEW_OF[path], 12, "101:101:")
    answer = await asked
    assert answer.status_code == 200
    assert answer.headers["read-model-position"] == "12"


async def test_projections_wait_for_all_of_them(api: Api, filled: Shop) -> None:
    asked = asyncio.create_task(api.get("/projections", headers=token(100) | WAIT))
    for view in INSTANCES:
        await filled.advance(view, 12, "101:101:")
    assert {row["position"] for row in (await asked).json()["items"]} == {12}


async def test_best_sellers_wait_for_the_catalog_too(api: Api, filled: Shop) -> None:
    await filled.advance("sales_statistics", 11, "101:101:")
    assert (await api.get("/statistics/products", headers=token(100) | AT_ONCE)).status_code == 503
    await filled.advance("product_catalog", 12, "101:101:")
    answer = await api.get("/statistics/products", headers=token(100) | WAIT)
    assert answer.headers["read-model-position"] == "11"


async def test_a_wait_ends_when_another_instance_that_has_seen_it_is_served(api: Api, filled: Shop) -> None:
    asked = asyncio.create_task(api.get("/orders/o-1", headers=token(100) | WAIT))
    await filled.database["order_detail.v9"].insert_one({"_id": "o-1", "version": 7, "orderer": {"member_id": "x"}})
    await filled.advance("order_detail", 12, "101:101:", instance="order_detail.v9")
    await filled.database.registry.update_one({"_id": "order_detail"}, {"$set": {"active": "order_detail.v9"}})
    assert (await asked).json()["version"] == 7


async def test_many_wait_at_once(api: Api, filled: Shop) -> None:
    asked = [asyncio.create_task(api.get("/orders/o-1", headers=token(100) | WAIT)) for _ in range(200)]
    await filled.advance("order_detail", 11, "101:101:")
    assert {answer.status_code for answer in await asyncio.gather(*asked)} == {200}


@pytest.mark.parametrize("path", [*VIEW_OF, "/projections"])
@pytest.mark.parametrize("made_up", [b"x", b"\xe9", b"AAAAAAAAAAAAAAAAAAAAAAAAAAA="])
async def test_a_token_of_no_deployment_is_refused(api: Api, filled: Shop, path: str, made_up: bytes) -> None:
    answer = await api.get(path, headers={"Consistency-Token": made_up})
    assert answer.status_code == 400
    assert answer.json()["type"] == "/problems/unknown-consistency-token"


async def test_who_may_not_ask_is_told_so_before_anything_is_waited_for(api: Api, filled: Shop) -> None:
    assert (await api.get("/orders/o-1", None, headers={"Consistency-Token": "x"})).status_code == 401
    assert (await api.get("/orders", None, sort="x")).status_code == 401


async def test_a_view_that_is_behind_says_by_how_much(api: Api, filled: Shop) -> None:
    now = datetime.now(UTC)
    log = {"head": 30, "samples": [[10, now - timedelta(seconds=90)], [30, now - timedelta(seconds=60)]]}
    await filled.database.registry.update_one({"_id": "$log"}, {"$set": log})
    assert await api.follower.reaches(lambda: api.follower.log is not None and api.follower.log.head == 30, 60)
    answer = await api.get("/orders/o-1")
    assert answer.headers["read-model-position"] == "10"
    assert 60 <= float(answer.headers["read-model-lag-seconds"]) < 80


async def test_a_dead_projector_does_not_look_fresh(api: Api, filled: Shop) -> None:
    long_ago = datetime.now(UTC) - timedelta(hours=1)
    await filled.tell(10, heartbeat_at=long_ago)
    assert await api.follower.reaches(
        lambda: (
            api.follower.log is not None and api.follower.log.heartbeat_at < datetime.now(UTC) - timedelta(minutes=1)
        ),
        60,
    )
    assert float((await api.get("/orders/o-1")).headers["read-model-lag-seconds"]) >= 3600


async def test_before_the_projector_has_run_every_view_is_behind_and_readiness_says_why(
    early_api: Api, database: object
) -> None:
    assert await early_api.follower.reaches(lambda: early_api.follower.available, 60)
    for path in [*VIEW_OF, "/projections"]:
        answer = await early_api.get(path)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert answer.json()["type"] == "/problems/read-model-behind"
    ready = await early_api.get("/readyz", None)
    assert ready.status_code == 503
    assert "order_detail" in ready.json()["detail"]


async def test_views_that_are_made_later_are_found(early_api: Api, shop: Shop) -> None:
    await shop.put("order_detail", an_order())
    assert await early_api.follower.reaches(lambda: early_api.follower.log is not None, 60)
    assert (await early_api.get("/orders/o-1", headers=token(99) | WAIT)).status_code == 200
    assert (await early_api.get("/readyz", None)).status_code == 200


async def test_a_database_that_was_dropped_is_claimed_no_longer(api: Api, filled: Shop) -> None:
    await filled.database.client.drop_database(filled.database.name)
    assert await api.follower.reaches(lambda: api.follower.log is None, 60)
    assert (await api.get("/orders/o-1")).status_code == 503
    await filled.open()
    await filled.put("order_detail", an_order())
    assert (await api.get("/orders/o-1", headers=token(99) | WAIT)).status_code == 200


async def test_a_part_of_a_checkpoint_that_changes_is_read_whole(api: Api, filled: Shop) -> None:
    await filled.database.registry.update_one({"_id": "$log"}, {"$push": {"samples": [11, datetime.now(UTC)]}})
    follower = api.follower
    assert await follower.reaches(lambda: follower.log is not None and len(follower.log.samples) == 2, 60)
    assert (await api.get("/orders/o-1", headers=token(99) | WAIT)).status_code == 200


PARKED = {
    "/orders/o-9": "order_detail",
    "/products/p-9": "product_catalog",
    "/members/eve": "member_profile",
    "/posts/post-9": "posts",
}


@pytest.mark.parametrize("path", PARKED)
async def test_a_parked_document_satisfies_no_token(api: Api, shop: Shop, path: str) -> None:
    await shop.put("order_detail", an_order("o-9"), _parked=True)
    await shop.put("product_catalog", a_product("p-9"), _parked=True)
    await shop.put("member_profile", a_member("eve"), _parked=True)
    await shop.put("posts", a_post("post-9"), _parked=True)
    answer = await api.get(path, headers=token(99) | AT_ONCE)
    assert (answer.status_code, answer.json()["type"]) == (503, "/problems/read-model-parked")
    assert answer.headers["read-model-state"] == "parked"
    without = await api.get(path)
    assert (without.status_code, without.headers["read-model-state"]) == (200, "parked")


@pytest.mark.parametrize("path", PARKED)
async def test_a_document_whose_first_event_is_parked_is_not_called_missing_to_a_token(
    api: Api, shop: Shop, path: str
) -> None:
    letter = {"instance": INSTANCES[PARKED[path]], "documents": ["x", path.split("/")[2]], "state": "failed"}
    await shop.database["dead_letters"].insert_one(letter)
    answer = await api.get(path, headers=token(99) | AT_ONCE)
    assert (answer.status_code, answer.json()["type"]) == (503, "/problems/read-model-parked")
    assert (await api.get(path)).status_code == 404
    await shop.database["dead_letters"].update_many({}, {"$set": {"state": "discarded"}})
    assert (await api.get(path, headers=token(99) | AT_ONCE)).status_code == 404


async def test_what_a_customer_may_not_see_is_not_told_to_be_parked(api: Api, shop: Shop) -> None:
    await shop.put("order_detail", an_order("o-9", "ann"), _parked=True)
    assert (await api.get("/orders/o-9", "eve", headers=token(99) | AT_ONCE)).status_code == 404


async def test_a_list_with_a_parked_document_satisfies_a_token_and_says_which_it_is(api: Api, shop: Shop) -> None:
    await shop.put("order_detail", an_order("o-9"), _parked=True)
    answer = await api.get("/orders", headers=token(99) | AT_ONCE)
    assert [one["read_model_state"] for one in answer.json()["items"]] == ["parked"]


class Commands(CommandListener):
    """What a client sends to MongoDB."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    def started(self, event: CommandStartedEvent) -> None:
        """One more."""
        self.sent.append(event.command_name)

    def succeeded(self, _: CommandSucceededEvent) -> None:
        """It was counted when it was sent."""

    def failed(self, _: CommandFailedEvent) -> None:
        """It was counted when it was sent."""


@pytest.fixture
def commands(query_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Commands:
    """Of the query API that is started afterwards."""
    commands = Commands()

    def counted(settings: Settings, _: str) -> ReadDatabase:
        client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(
            settings.mongo_url, event_listeners=[commands], tz_aware=True
        )
        return client[settings.mongo_database]

    monkeypatch.setattr("query.app.read_database", counted)
    return commands


async def test_any_number_of_waits_costs_mongodb_no_more_than_one(commands: Commands, api: Api, filled: Shop) -> None:
    def waiting() -> int:
        return len(api.follower._changed._waiters)

    headers = token(150) | {"Prefer": "wait=30"}
    asked = [asyncio.create_task(api.get("/orders/o-1", headers=headers)) for _ in range(200)]
    while waiting() < len(asked):  # noqa: ASYNC110 - they tell nobody
        await asyncio.sleep(0.01)
    commands.sent.clear()
    # The follower, which hears of this like of any other change, wakes all of them, and they go on waiting.
    for position in range(11, 16):
        await filled.advance("order_detail", position, "100:100:")
    assert await api.follower.reaches(lambda: (api.follower.checkpoint("order_detail") or NONE).position == 15, 60)
    assert set(commands.sent) <= {"getMore"}
    await filled.advance("order_detail", 16, "200:200:")

    assert {answer.status_code for answer in await asyncio.gather(*asked)} == {200}
    assert len([name for name in commands.sent if name != "getMore"]) <= 4
