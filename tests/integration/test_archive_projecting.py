"""The projector and the feed over a log whose beginning is in files."""

import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from command.app import create_app
from projector import bulk
from projector.daemon import NotReadyError
from projector.registry import Registry
from runtime.settings import Settings
from runtime.tokens import Tokens
from tests.integration.archived import SIZE, archive, small_partitions
from tests.integration.projecting import ReadSide, Shop, a_read_side, a_shop, projecting, until
from tests.oracle.views import expected_views
from views import all_views


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Batches that are smaller than a partition: what is made ahead of time has to be enough."""
    return settings.model_copy(update={"batch_limit": 50})


@pytest.fixture
async def shop(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Shop]:
    """A shop with small partitions of its log."""
    url = settings.postgres_url or ""
    await small_partitions(url, monkeypatch)
    async with a_shop(url) as shop:
        chance = random.Random(11)
        while len(shop.acknowledged) < 2 * SIZE + 20:
            await shop.some_order(chance)
        yield shop


@pytest.fixture
async def read_side(settings: Settings) -> AsyncIterator[ReadSide]:
    """The views of this test."""
    async with a_read_side(settings) as read_side:
        yield read_side


def files_in(settings: Settings) -> list[Path]:
    """The archive files, in the order of the log."""
    return sorted(settings.archives.glob("*.parquet"))


async def rebuilt(registry: Registry, view: str) -> None:
    """Wait until the view is served from what was built."""

    async def is_switched() -> bool:
        return (await registry.entry(view)).building is None

    await until(is_switched, f"{view} rebuilt")


@pytest.mark.parametrize("worth_it", [1, 10**9], ids=["by several processes", "by the runner alone"])
async def test_views_rebuilt_over_an_archived_beginning_are_the_same(
    settings: Settings, shop: Shop, read_side: ReadSide, monkeypatch: pytest.MonkeyPatch, worth_it: int
) -> None:
    monkeypatch.setattr(bulk, "WORTH_IT", worth_it)
    async with projecting(settings):
        await read_side.reached(len(shop.acknowledged))
        assert await archive(shop.url, settings.archives, 2 * SIZE) == 2
        registry = Registry(read_side.database)
        # Both ways to write, by documents and by increments, are enough where each takes processes of its own.
        for view in ("order_detail", "sales_statistics") if worth_it == 1 else all_views():
            served = await read_side.documents((await registry.entry(view)).active)
            await registry.request_rebuild(view)
            await rebuilt(registry, view)
            comparison = (await registry.entry(view)).comparison
            assert comparison is not None
            assert (comparison["documents"], comparison["different"]) == (len(served), 0)
    assert await read_side.views() == expected_views(shop.acknowledged)
    assert await read_side.dead_letters() == []


@pytest.mark.parametrize("worth_it", [1, 10**9], ids=["by several processes", "by the runner alone"])
async def test_a_missing_file_is_named_by_the_projectors_health_and_waited_for(
    settings: Settings, shop: Shop, read_side: ReadSide, monkeypatch: pytest.MonkeyPatch, worth_it: int
) -> None:
    async with projecting(settings):
        await read_side.reached(len(shop.acknowledged))
    assert await archive(shop.url, settings.archives, 2 * SIZE) == 2
    [file, _] = files_in(settings)
    away = file.rename(file.with_suffix(".away"))

    monkeypatch.setattr(bulk, "WORTH_IT", worth_it)
    async with projecting(settings) as daemon:

        async def says_which() -> bool:
            try:
                await daemon.projections_work()
            except NotReadyError as error:
                return f"archive: archive file {file} is missing" in str(error)
            return False

        registry = Registry(read_side.database)
        await registry.request_rebuild("order_detail")
        await until(says_which, "health that names the file")
        away.rename(file)
        await rebuilt(registry, "order_detail")
    assert await read_side.views() == expected_views(shop.acknowledged)
    assert await read_side.dead_letters() == []


async def test_the_feed_crosses_the_border_and_refuses_what_it_cannot_read(
    settings: Settings, shop: Shop, read_side: ReadSide
) -> None:
    async with projecting(settings):
        await read_side.reached(len(shop.acknowledged))
    headers = {"Authorization": f"Bearer {Tokens(settings).issue('me', ('operator',))}"}
    app = create_app(settings)
    transport = httpx.ASGITransport(app)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://test") as feed:

        async def batches(**only: str) -> list[object]:
            found: list[Any] = []
            while True:
                after = found[-1]["position"] if found else 0
                answer = await feed.get("/events", params={"after": after, "limit": 70} | only, headers=headers)
                assert answer.status_code == 200, answer.text
                if not answer.json():
                    return found
                found += answer.json()

        order = {"aggregate_id": next(one.aggregate[1] for one in shop.acknowledged if one.aggregate[0] == "order")}
        before = [await batches(), await batches(**order), await batches(event_type="OrderPaid")]
        assert await archive(shop.url, settings.archives, 2 * SIZE) == 2
        assert [await batches(), await batches(**order), await batches(event_type="OrderPaid")] == before

        for file in files_in(settings):
            file.unlink()
        answer = await feed.get("/events", params={"after": 0}, headers=headers)
        assert (answer.status_code, answer.json()["type"]) == (503, "/problems/unavailable")
        assert "archive" in answer.json()["detail"]
        assert "parquet" not in answer.text
        assert (await feed.get("/events", params={"after": 2 * SIZE}, headers=headers)).status_code == 200
