"""An answer from memory is one that a read could have given: at least as new as what its headers say."""

import asyncio
import random
from typing import Any

import pytest
from pymongo import AsyncMongoClient
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

from runtime.mongo import ReadDatabase
from runtime.settings import Settings
from tests.integration.query.shop import INSTANCES, Api, Shop, an_order, token
from tests.integration.query.test_query_without_mongodb import Wire, wire, wired_api

__all__ = ["wire", "wired_api"]

ORDERS = INSTANCES["order_detail"]
REBUILT = "order_detail.v9"
LIST = "/orders?limit=5"
KNOWN = {"Prefer": "wait=30"}


class Finds(CommandListener):
    """Which collections a client reads from."""

    def __init__(self) -> None:
        self.of: list[str] = []

    def started(self, event: CommandStartedEvent) -> None:
        """One more, if it is one."""
        if event.command_name in ("find", "aggregate"):
            self.of.append(event.command[event.command_name])

    def succeeded(self, _: CommandSucceededEvent) -> None:
        """It was counted when it was sent."""

    def failed(self, _: CommandFailedEvent) -> None:
        """It was counted when it was sent."""


@pytest.fixture
def finds(query_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Finds:
    """Of the query API that is started afterwards."""
    finds = Finds()

    def watched(settings: Settings, _: str) -> ReadDatabase:
        client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(
            settings.mongo_url, event_listeners=[finds], tz_aware=True
        )
        return client[settings.mongo_database]

    monkeypatch.setattr("query.app.read_database", watched)
    return finds


async def version_of(api: Api, order_id: str = "o-1", *, seen: int | None = None) -> int:
    """Of the order as it is answered, where asked for after what the projector wrote at this position."""
    headers = {} if seen is None else token(seen * 10 - 1) | KNOWN
    answer = await api.get(f"/orders/{order_id}", headers=headers)
    assert answer.status_code == 200, answer.text
    version: int = answer.json()["version"]
    assert answer.headers["etag"] == f'"{version}"'
    return version


async def test_what_nothing_has_written_is_not_read_again(shop: Shop, finds: Finds, api: Api) -> None:
    await shop.write("order_detail", 11, an_order(version=1), an_order("o-2", version=2))
    first = [await version_of(api, seen=11), await version_of(api, "o-2")]
    listed = (await api.get(LIST)).json()
    finds.of.clear()
    assert [await version_of(api), await version_of(api, "o-2")] == first == [1, 2]
    assert (await api.get(LIST)).json() == listed
    assert finds.of == []


async def test_a_write_is_seen_as_soon_as_its_checkpoint_and_forgets_nothing_else(
    shop: Shop, finds: Finds, api: Api
) -> None:
    await shop.write("order_detail", 11, an_order(version=1), an_order("o-2", version=1))
    assert [await version_of(api, seen=11), await version_of(api, "o-2")] == [1, 1]
    for version in (2, 3):  # the second names the same order as the first
        finds.of.clear()
        await shop.write("order_detail", 10 + version, an_order(version=version))
        assert [await version_of(api, seen=10 + version), await version_of(api, "o-2")] == [version, 1]
        assert finds.of == [ORDERS]


async def test_a_list_and_an_order_tell_the_same_once_the_checkpoint_is_known(shop: Shop, api: Api) -> None:
    for version in range(1, 6):
        await shop.write("order_detail", 10 + version, an_order(version=version))
        answer = await api.get(LIST, headers=token((10 + version) * 10 - 1) | KNOWN)
        assert [item["version"] for item in answer.json()["items"]] == [version]
        assert await version_of(api) == version


async def test_a_write_that_does_not_say_what_it_touched_forgets_the_whole_instance(shop: Shop, api: Api) -> None:
    await shop.write("order_detail", 11, an_order(version=1))
    assert await version_of(api, seen=11) == 1
    await shop.write("order_detail", 12, an_order(version=2), tells=False)  # what 11 had touched still stands there
    assert await version_of(api, seen=12) == 2


async def test_a_repair_that_leaves_the_position_is_seen(shop: Shop, api: Api) -> None:
    await shop.write("order_detail", 11, an_order(version=1))
    assert await version_of(api, seen=11) == 1
    repaired = {"_id": ORDERS, "position": 11}
    async with await shop.database.client.start_session() as session, session.start_transaction():
        await shop.database.checkpoints.update_one(repaired, {"$set": {"unparked": 1}}, session=session)
        await shop.database[ORDERS].update_one({"_id": "o-1"}, {"$set": {"version": 2}}, session=session)
    assert await api.follower.reaches(lambda: _checkpoint(api).unparked == 1, 30)
    assert await version_of(api) == 2


async def test_a_document_that_is_parked_says_so_although_it_was_remembered_and_satisfies_no_token(
    shop: Shop, api: Api
) -> None:
    await shop.write("order_detail", 11, an_order(version=1))
    assert await version_of(api, seen=11) == 1
    await shop.write("order_detail", 12, an_order(version=1), tells=False, _parked=True)
    for _ in range(2):  # as it was read, and as it is remembered
        asked = await api.get("/orders/o-1", headers=token(119) | KNOWN)
        assert (asked.status_code, asked.json()["type"]) == (503, "/problems/read-model-parked")
        assert (await api.get("/orders/o-1")).headers["read-model-state"] == "parked"
    await shop.write("order_detail", 13, an_order(version=2))
    assert await version_of(api, seen=13) == 2


async def test_what_is_remembered_for_one_is_not_shown_to_another(shop: Shop, api: Api) -> None:
    await shop.write("order_detail", 11, an_order(version=1, member_id="ann"))
    assert await version_of(api, seen=11) == 1
    for caller, status in (("ann", 200), ("ben", 404), ("operator", 403), (None, 401), ("staff", 200)):
        assert (await api.get("/orders/o-1", caller)).status_code == status
    mine = [(await api.get(LIST, caller)).json()["items"] for caller in ("staff", "ann", "ben")]
    assert [len(items) for items in mine] == [1, 1, 0]


async def test_what_is_not_there_yet_is_found_as_soon_as_it_is(shop: Shop, api: Api) -> None:
    assert (await api.get("/orders/o-1")).status_code == 404
    await shop.write("order_detail", 11, an_order(version=1))
    assert await version_of(api, seen=11) == 1
    await shop.database[ORDERS].delete_one({"_id": "o-1"})
    await shop.advance("order_detail", 12, "120:120:")
    assert (await api.get("/orders/o-1", headers=token(119) | KNOWN)).status_code == 404


async def test_each_instance_is_remembered_by_itself_while_readers_go_over_and_back(shop: Shop, api: Api) -> None:
    await shop.write("order_detail", 11, an_order(version=1))
    assert await version_of(api, seen=11) == 1
    await shop.write("order_detail", 12, an_order(version=20), instance=REBUILT)
    await _serve(shop, api, REBUILT)
    assert await version_of(api) == 20
    await shop.write("order_detail", 13, an_order(version=3))  # kept current meanwhile
    await shop.write("order_detail", 14, an_order(version=40), instance=REBUILT)
    assert await version_of(api, seen=14) == 40
    await _serve(shop, api, ORDERS)
    assert await version_of(api, seen=13) == 3


async def test_what_was_written_while_the_change_stream_was_away_is_seen_afterwards(
    wired_api: Api, wire: Wire, shop: Shop
) -> None:
    await shop.write("order_detail", 11, an_order(version=1))
    assert await version_of(wired_api, seen=11) == 1
    await wire.cut()
    await shop.write("order_detail", 12, an_order(version=2))
    await wire.mend()
    assert await version_of(wired_api, seen=12) == 2


async def test_no_answer_is_older_than_its_headers_or_its_token_whatever_is_written_meanwhile(
    shop: Shop, api: Api
) -> None:
    history = _History()
    for number in range(_ORDERS):
        await history.write(shop, f"o-{number}")
    await asyncio.gather(
        *(_ask_and_judge(api, history, random.Random(lane)) for lane in range(12)), _write(shop, history)
    )
    assert history.judged > 200


_ORDERS, _WRITES = 5, 150


class _History:
    """Which version of each order was written at which position; the version is the position itself."""

    def __init__(self) -> None:
        self.position = 10
        self.of: dict[str, list[int]] = {}
        self.judged = 0
        self.is_over = False

    async def write(self, shop: Shop, *order_ids: str, tells: bool = True) -> None:
        """Write these orders; what is known of them afterwards has been committed."""
        position = self.position + 1
        await shop.write("order_detail", position, *(an_order(one, version=position) for one in order_ids), tells=tells)
        self.position = position
        for one in order_ids:
            self.of.setdefault(one, []).append(position)

    def least(self, order_id: str, position: int) -> int:
        """The version that an answer which includes everything up to a position must have, at least."""
        return max([written for written in self.of[order_id] if written <= position], default=0)


async def _write(shop: Shop, history: _History) -> None:
    rng = random.Random(7)
    for _ in range(_WRITES):
        some = rng.sample(sorted(history.of), rng.randint(1, 2))
        await history.write(shop, *some, tells=rng.random() < 0.8)
    history.is_over = True


async def _ask_and_judge(api: Api, history: _History, rng: random.Random) -> None:
    while not history.is_over:
        order_id, committed = rng.choice(sorted(history.of)), history.position
        headers = token(committed * 10 - 1) | KNOWN if rng.random() < 0.3 else {}
        if rng.random() < 0.2:
            answer = await api.get(LIST, headers=headers)
            versions = {item["order_id"]: item["version"] for item in answer.json()["items"]}
        else:
            answer = await api.get(f"/orders/{order_id}", headers=headers)
            versions = {order_id: answer.json()["version"]}
        told = int(answer.headers["read-model-position"])
        assert not headers or told >= committed
        for one, version in versions.items():
            assert version >= history.least(one, told), f"{one} is older than position {told}"
        history.judged += 1


async def _serve(shop: Shop, api: Api, instance: str) -> None:
    await shop.database.registry.update_one({"_id": "order_detail"}, {"$set": {"active": instance}})
    assert await api.follower.reaches(lambda: _checkpoint(api).instance == instance, 30)


def _checkpoint(api: Api) -> Any:
    return api.follower.checkpoint("order_detail")
