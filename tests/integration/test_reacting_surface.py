"""What operators see of reactions, and the jobs that run beside them."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator

import httpx
import pytest
from structlog.testing import capture_logs

from events.reaction import Job, NotNow, Ports
from projector.app import create_app
from projector.daemon import Daemon
from projector.reacting.engine import refuse_ambiguous
from runtime.settings import Settings
from runtime.tokens import Tokens
from tests.integration.projecting import until
from tests.integration.reacting import Kept, Outside, Stock, a_reaction, a_stock, handing, mongo, quick, reacting

__all__ = ["mongo"]


@pytest.fixture
async def stock(postgres_url: str) -> AsyncIterator[Stock]:
    """An empty log; the reaction is known from its beginning on."""
    async with a_stock(postgres_url, "ship") as stock:
        yield stock


async def test_operators_see_where_reactions_stand_over_http_in_metrics_and_on_the_command_line(
    stock: Stock, mongo: Kept, settings: Settings
) -> None:
    outside = Outside()
    outside.refuse(("a", 1))
    app = create_app(quick(settings), background=handing(a_reaction(outside)))
    headers = {"Authorization": f"Bearer {Tokens(settings).issue('ann', ['operator'])}"}
    transport = httpx.ASGITransport(app=app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://projector", headers=headers) as client,
    ):
        await stock.adjust("a", "b")
        await mongo.come_to(("a", 1, "failed"))
        await mongo.reached(2)
        [found] = (await client.get("/reactions")).json()["items"]
        assert (found["name"], found["health"], found["position"], found["parked_sequences"]) == ("ship", "idle", 2, 1)
        lines = set((await client.get("/metrics")).text.splitlines())
        assert {
            'readside_reaction_position{reaction="ship"} 2.0',
            'readside_reaction_parked_sequences{reaction="ship"} 1.0',
            'readside_reaction_in_flight{reaction="ship"} 0.0',
            'readside_reaction_lag_events{reaction="ship"} 0.0',
            'readside_reaction_health{health="idle",reaction="ship"} 1.0',
        } <= lines
        names = {line.partition("{")[0] for line in lines}
        assert {
            "readside_reaction_handled_total",
            "readside_reaction_attempts_failed_total",
            "readside_reaction_retries_total",
            "readside_reaction_duration_seconds_bucket",
        } <= names
        [letter] = (await client.get("/dead-letters?projection=ship")).json()["items"]
        shown = (await client.get(f"/dead-letters/{letter['id']}")).json()
        assert (shown["state"], shown["sequence"]) == ("failed", "a")

        async def is_told() -> bool:
            return "idle" in await _status(settings)

        await until(is_told, "the lease to tell of its owner's work")
        heading, line = (await _status(settings)).splitlines()
        assert heading.split()[:3] == ["reaction", "state", "health"]
        assert line.split() == ["ship", "active", "idle", "2", "2", "0", "0.0", "0", "1"]
        outside.agree()
        assert (await client.post(f"/dead-letters/{letter['id']}/retry")).json()["state"] == "resolved"
    assert (await _status(settings)).splitlines()[1].split()[:3] == ["ship", "stopped", "stopped"]


async def test_a_process_without_a_write_side_reacts_to_nothing(settings: Settings) -> None:
    async with reacting(settings) as daemon:

        async def is_ready() -> bool:
            return daemon.reacting.trouble == ""

        await until(is_ready, "it to have started")
        assert daemon.reacting.runners == []


async def test_jobs_run_at_their_interval_one_at_a_time_and_a_failure_ends_nothing(
    stock: Stock, settings: Settings
) -> None:
    runs: list[str] = []
    at_once = most = 0

    async def slow(ports: Ports) -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        runs.append(ports.of(str))
        await asyncio.sleep(0.15)
        at_once -= 1

    async def fails(_: Ports) -> None:
        runs.append("fails")
        raise ValueError("no such thing")

    async def cannot(_: Ports) -> None:
        runs.append("cannot")
        raise NotNow("Postgres")

    jobs = [Job("slow", 0.05, slow), Job("fails", 0.05, fails), Job("cannot", 0.05, cannot)]
    with capture_logs() as logs:
        async with reacting(settings, jobs=jobs, ports=Ports({str: "slow"})):

            async def all_ran() -> bool:
                return all(runs.count(name) >= 3 for name in ("slow", "fails", "cannot"))

            await until(all_ran, "every job to run again and again")
    assert most == 1
    told = {one["job"] for one in logs if one["event"] == "job failed"}
    assert told == {"fails"}
    assert {one["log_level"] for one in logs if one.get("job") == "cannot"} <= {"debug"}


async def test_a_background_that_cannot_be_had_yet_is_waited_for(stock: Stock, settings: Settings) -> None:
    outside, attempts = Outside(), 0
    made = handing(a_reaction(outside))

    def background(given: Settings) -> object:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            raise ConnectionError("not yet")
        return made(given)

    daemon = Daemon(quick(settings), background=background)  # type: ignore[arg-type]
    with capture_logs():
        async with daemon.running():
            calls = await stock.adjust("a")
            await outside.did(*calls)


def test_names_that_would_be_mistaken_for_another_are_refused() -> None:
    refuse_ambiguous(["refund", "mail"])
    for names in (["refund", "refund"], ["order_detail"]):
        with pytest.raises(ValueError, match=names[0]):
            refuse_ambiguous(names)


async def _status(settings: Settings) -> str:
    environment = {"READSIDE_MONGO_URL": str(settings.mongo_url), "READSIDE_MONGO_DATABASE": settings.mongo_database}
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "readside", "reactions", "status"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        cwd=settings.data_dir,
        env=os.environ | environment,
    )
    return done.stdout
