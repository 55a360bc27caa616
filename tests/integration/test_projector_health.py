"""Readiness tells a projector that is idle from one that is stuck, and from one whose schedule has died."""

import asyncio
from typing import Any

import pytest
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from projector import daemon as daemon_module
from projector import runner as runner_module
from projector.daemon import Daemon, NotReadyError
from projector.store import ViewStore
from runtime.settings import Settings
from tests.integration.projecting import a_read_side, a_shop, projecting, until


async def _trouble(check: Any) -> str | None:
    try:
        await check()
    except NotReadyError as error:
        return str(error)
    return None


async def test_a_projection_whose_head_moves_and_whose_checkpoint_does_not_is_stuck(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner_module, "STUCK_SECONDS", 0.3)
    write, released = ViewStore.write, asyncio.Event()

    async def hangs(store: ViewStore, *arguments: Any) -> Any:
        if store.view.name == "order_detail":
            await released.wait()
        return await write(store, *arguments)

    async with (
        a_shop(settings.postgres_url or "") as shop,
        a_read_side(settings) as read_side,
        projecting(settings) as daemon,
    ):
        await read_side.reached(len(shop.acknowledged))
        # Idle for longer than a stuck one would be given: that is no trouble.
        await asyncio.sleep(0.4)
        assert await _trouble(daemon.projections_work) is None

        monkeypatch.setattr(ViewStore, "write", hangs)
        await shop.place()

        async def is_stuck() -> bool:
            trouble = await _trouble(daemon.projections_work)
            return trouble is not None and trouble.startswith("order_detail: stuck at position")

        await until(is_stuck, "readiness to say so")
        (stuck,) = [one for one in daemon.runners if one.name == "order_detail"]
        assert stuck.status()["health"] == "stuck"

        released.set()
        await read_side.reached(len(shop.acknowledged))

        async def is_idle() -> bool:
            return await _trouble(daemon.projections_work) is None and stuck.status()["health"] == "idle"

        await until(is_idle, "readiness again")


async def test_a_dead_schedule_is_no_readiness(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon_module, "TICK_SECONDS", 0.02)
    monkeypatch.setattr(AsyncIOScheduler, "start", lambda _: None)
    monkeypatch.setattr(AsyncIOScheduler, "shutdown", lambda *_, **__: None)
    async with a_shop(settings.postgres_url or ""):
        daemon = Daemon(settings)
        async with daemon.running():

            async def says_so() -> bool:
                return "scheduler" in (await _trouble(daemon.scheduler_works) or "")

            await until(says_so, "readiness to say so")
