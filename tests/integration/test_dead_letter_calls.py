"""Dead letters over HTTP and from the command line."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from events.ordering import OrderPaid
from projector.app import create_app
from runtime.postgres import make_engine
from runtime.settings import Settings
from runtime.tokens import Tokens
from tests.integration.poison import Log, Views, poison

FIELDS = {
    "id",
    "projection",
    "aggregate_type",
    "aggregate_id",
    "position",
    "event_type",
    "error",
    "attempts",
    "first_failed_at",
    "last_failed_at",
    "state",
}


class Parked:
    """A projector with two orders that are parked in `order_detail`, each with a second event behind."""

    def __init__(self, client: httpx.AsyncClient, settings: Settings, views: Views, broken: pytest.MonkeyPatch) -> None:
        self.client, self.settings, self.views, self.broken = client, settings, views, broken
        self.orders: list[str] = []

    async def call(self, method: str, path: str, *, scope: Any = "operator", **more: Any) -> httpx.Response:
        """Ask as ann."""
        headers = {"Authorization": f"Bearer {Tokens(self.settings).issue('ann', [scope])}"} if scope else {}
        return await self.client.request(method, path, headers=headers, **more)

    async def ids(self) -> list[str]:
        """Of all letters."""
        return [one["id"] for one in (await self.call("GET", "/dead-letters")).json()["items"]]

    def repair(self) -> None:
        """The fold works from now on."""
        self.broken.undo()

    async def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run ``readside dead-letters …`` beside it."""
        environment = {
            "READSIDE_MONGO_URL": str(self.settings.mongo_url),
            "READSIDE_MONGO_DATABASE": self.settings.mongo_database,
        }
        return await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "readside", "dead-letters", *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd=self.settings.data_dir,
            env=os.environ | environment,
        )


@pytest.fixture
async def parked(settings: Settings, postgres_url: str) -> AsyncIterator[Parked]:
    """As `Parked`."""
    engine = make_engine(postgres_url, "test log", pool_size=2)
    log, views, app = Log(engine), Views(settings), create_app(settings)
    await log.open()
    orders = [await log.place(), await log.place()]
    with pytest.MonkeyPatch.context() as broken:
        poison(broken, "order_detail", OrderPaid, *orders)
        async with app.router.lifespan_context(app):
            transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://projector") as client:
                for order_id in orders:
                    await log.pay(order_id)
                    await log.cancel(order_id)
                await views.reached(log.count)
                parked = Parked(client, settings, views, broken)
                parked.orders = orders
                yield parked
    views.database.client.close()
    await engine.dispose()


async def test_a_list_has_the_fields_of_the_contract_and_goes_on_by_cursor(parked: Parked) -> None:
    first = (await parked.call("GET", "/dead-letters?limit=3&projection=order_detail")).json()
    assert [set(one) for one in first["items"]] == [FIELDS] * 3
    assert [one["state"] for one in first["items"]] == ["failed", "waiting", "failed"]
    assert first["items"][0]["error"] == "ValueError: no such step"
    rest = (await parked.call("GET", f"/dead-letters?projection=order_detail&cursor={first['next_cursor']}")).json()
    assert ([one["position"] for one in rest["items"]], rest["next_cursor"]) == ([11], None)


@pytest.mark.parametrize(
    ("query", "count"),
    [("state=failed", 2), ("state=discarded", 0), ("projection=member_profile", 0), ("aggregate_id={0}", 2)],
)
async def test_a_list_can_be_narrowed(parked: Parked, query: str, count: int) -> None:
    answer = await parked.call("GET", f"/dead-letters?{query.format(*parked.orders)}")
    assert len(answer.json()["items"]) == count


@pytest.mark.parametrize("query", ["state=lost", "colour=red", "cursor=bm90aGluZw", "limit=0"])
async def test_what_a_list_does_not_know_is_refused(parked: Parked, query: str) -> None:
    answer = await parked.call("GET", f"/dead-letters?{query}")
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/invalid-input")


async def test_a_retry_says_how_it_ended(parked: Parked) -> None:
    letter = (await parked.ids())[0]
    failed = await parked.call("POST", f"/dead-letters/{letter}/retry")
    assert (failed.status_code, failed.json()["state"], failed.json()["attempts"]) == (200, "failed", 4)
    parked.repair()
    done = await parked.call("POST", f"/dead-letters/{letter}/retry")
    assert (done.status_code, done.json()["state"]) == (200, "resolved")
    again = await parked.call("POST", f"/dead-letters/{letter}/retry")
    assert (again.status_code, again.json()["type"]) == (409, "/problems/dead-letter-settled")
    assert len(await parked.ids()) == 2


async def test_several_and_all_are_retried_at_once(parked: Parked) -> None:
    parked.repair()
    assert (await parked.call("POST", "/dead-letters/retry", json={})).status_code == 422
    answer = await parked.call("POST", "/dead-letters/retry", json={"all": True})
    assert (answer.status_code, answer.json()) == (202, {"requested": 4})
    for _ in range(500):
        if not await parked.ids():
            break
        await asyncio.sleep(0.01)
    assert await parked.ids() == []


async def test_a_discard_needs_a_reason_and_keeps_it(parked: Parked) -> None:
    letter = (await parked.ids())[0]
    for body in ({}, {"reason": "  "}, {"reason": "x", "more": 1}):
        assert (await parked.call("POST", f"/dead-letters/{letter}/discard", json=body)).status_code == 422
    done = await parked.call("POST", f"/dead-letters/{letter}/discard", json={"reason": "a test order"})
    assert (done.status_code, done.json()["state"]) == (200, "discarded")
    whole = (await parked.call("GET", f"/dead-letters/{letter}")).json()
    assert set(whole) == FIELDS | {"sequence", "payload", "traceback", "history"}
    assert whole["payload"]["member_id"] == "m-1"
    assert "no such step" in whole["traceback"]
    assert [(one["by"], one["what"], one["reason"]) for one in whole["history"]] == [
        ("ann", "discard", "a test order"),
        ("ann", "discarded", "a test order"),
    ]


@pytest.mark.parametrize(("scope", "status"), [(None, 401), ("staff", 403), ("customer", 403)])
async def test_only_operators_may(parked: Parked, scope: str | None, status: int) -> None:
    letter = (await parked.ids())[0]
    for method, path in [
        ("GET", "/dead-letters"),
        ("GET", f"/dead-letters/{letter}"),
        ("POST", "/dead-letters/retry"),
        ("POST", f"/dead-letters/{letter}/retry"),
        ("POST", f"/dead-letters/{letter}/discard"),
    ]:
        assert (await parked.call(method, path, scope=scope)).status_code == status


async def test_a_letter_that_never_was_is_not_found(parked: Parked) -> None:
    for method, path in [("GET", ""), ("POST", "/retry"), ("POST", "/discard")]:
        body = {"json": {"reason": "none"}} if path == "/discard" else {}
        answer = await parked.call(method, f"/dead-letters/order_detail.v1.999{path}", **body)
        assert (answer.status_code, answer.json()["type"]) == (404, "/problems/not-found")


async def test_the_command_line_lists_shows_retries_and_discards(parked: Parked) -> None:
    listed = await parked.command("list")
    rows = [line.split("\t") for line in listed.stdout.splitlines()]
    assert [row[1] for row in rows] == ["failed", "waiting", "failed", "waiting"]
    first, _, second, _ = (row[0] for row in rows)
    shown = await parked.command("show", first)
    assert "no such step" in shown.stdout
    assert '"member_id": "m-1"' in shown.stdout

    failed = await parked.command("retry", first)
    assert (failed.returncode, failed.stdout) == (1, f"{first}  failed: ValueError: no such step\n")
    discarded = await parked.command("discard", first, "--reason", "a test order")
    assert (discarded.returncode, discarded.stdout) == (0, f"{first}  discarded\n")
    parked.repair()
    done = await parked.command("retry", "--all")
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, f"{second}  resolved")
    settled = await parked.command("retry", first)
    assert (settled.returncode, settled.stderr) == (2, f"readside: the dead letter {first} is discarded already\n")
    history = (await parked.views.letters.show(first))["history"]
    assert history[0]["by"].startswith("cli:")
