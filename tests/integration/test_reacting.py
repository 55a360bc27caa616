"""Reactions between a real Postgres and a real MongoDB: at least once, in order, each on its own."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from events.envelope import Envelope
from events.reaction import NotNow, Ports
from projector.daemon import Daemon, NotReadyError
from projector.reacting import reactor as reactor_module
from projector.reacting import troubles as troubles_module
from runtime.settings import Settings
from tests.integration.projecting import a_read_side, until
from tests.integration.reacting import (
    Call,
    Gate,
    Kept,
    Outside,
    Stock,
    a_reaction,
    a_stock,
    mongo,
    outside,
    quick,
    reacting,
    runner_of,
)

__all__ = ["mongo", "outside"]


@pytest.fixture
async def stock(postgres_url: str) -> AsyncIterator[Stock]:
    """An empty log; the reactions are known from its beginning on."""
    async with a_stock(postgres_url, "ship", "mail") as stock:
        yield stock


async def test_a_sequence_is_handled_one_by_one_in_order_and_beside_others(
    stock: Stock, mongo: Kept, outside: Outside, settings: Settings
) -> None:
    gate = Gate()
    outside.behave = gate.passed
    async with reacting(quick(settings), a_reaction(outside)):
        calls = await stock.adjust("a", "b", "a", "c", "b", "a")
        await outside.began(("a", 1), ("b", 1), ("c", 1))
        await asyncio.sleep(0.1)
        assert sorted(outside.begun) == [("a", 1), ("b", 1), ("c", 1)], "all sequences at once, one of each"
        gate.open()
        await outside.did(*calls)
        await mongo.reached(6)
    assert [version for product, version in outside.done if product == "a"] == [1, 2, 3]
    assert sorted(outside.begun) == sorted(calls), "nothing twice"


async def test_aggregates_that_share_a_key_share_a_sequence(
    stock: Stock, mongo: Kept, outside: Outside, settings: Settings
) -> None:
    async with reacting(quick(settings), a_reaction(outside, key=lambda event: event.reason)):
        calls = await stock.adjust("a", "b", "a", "c")
        await outside.did(*calls)
    assert outside.done == calls


async def test_a_dead_outside_of_one_reaction_holds_up_no_other_and_no_view(
    stock: Stock, mongo: Kept, outside: Outside, settings: Settings
) -> None:
    silent = Outside()
    silent.behave = Gate().passed
    dead, alive = a_reaction(silent, "ship"), a_reaction(outside, "mail")
    async with a_read_side(settings) as read_side, reacting(quick(settings), dead, alive) as daemon:
        calls = await stock.adjust(*(f"p-{number}" for number in range(100)))
        await outside.did(*calls)
        await read_side.reached(len(calls))
        assert len(silent.begun) == reactor_module.AT_ONCE, "no more at once than that"
        await daemon.reactions_work()
        stuck = runner_of(daemon)
        assert (stuck.status()["health"], stuck.status()["in_flight"]) == ("behind", reactor_module.AT_ONCE)
        await mongo.reached(len(calls), "mail")
        began = time.monotonic()
    assert time.monotonic() - began < 15
    assert (await mongo.checkpoint())["position"] == 0, "nothing is done that did not end"


async def test_what_fails_is_tried_again_after_a_while_and_others_go_on_meanwhile(
    stock: Stock, mongo: Kept, outside: Outside, settings: Settings
) -> None:
    outside.refuse(("a", 1))
    patient = quick(settings, reaction_backoff_seconds=0.4, reaction_attempts=5)
    async with reacting(patient, a_reaction(outside)):
        calls = await stock.adjust("a", "a", "b", "b")
        await outside.did(("b", 1), ("b", 2))
        assert outside.attempts(("a", 1)) == 1
        await outside.began(("a", 1), times=2)
        outside.agree()
        await outside.did(*calls)
        await mongo.reached(4)
    assert outside.attempts(("a", 1)) == 3
    assert outside.done.index(("a", 1)) < outside.done.index(("a", 2))
    assert await mongo.letters() == []


async def test_after_the_last_attempt_the_event_is_a_dead_letter_and_its_sequence_waits_behind_it(
    stock: Stock, mongo: Kept, outside: Outside, settings: Settings
) -> None:
    outside.refuse(("a", 1))
    async with reacting(quick(settings), a_reaction(outside)) as daemon:
        await stock.adjust("a", "a", "b")
        await mongo.come_to(("a", 1, "failed"), ("a", 2, "waiting"))
        await stock.adjust("a", "b")
        await mongo.come_to(("a", 1, "failed"), ("a", 2, "waiting"), ("a", 4, "waiting"))
        await mongo.reached(5)
        await outside.did(("b", 1), ("b", 2))
        assert runner_of(daemon).status()["parked_sequences"] == 1
        await daemon.reactions_work()
    assert outside.attempts(("a", 1)) == 3
    assert outside.attempts(("a", 2)) == 0
    first, second, _ = await mongo.letters()
    assert (first["_id"], first["instance"], first["sequence"]) == ("reaction:ship.1", "reaction:ship", "a")
    assert (first["error"], first["attempts"], first["event_type"]) == (
        "ValueError: no such address",
        3,
        "StockAdjusted",
    )
    assert "refusing" in first["traceback"]
    assert second["error"] == "waits behind an earlier event of the same sequence"
    shown = await mongo.dead.show("reaction:ship.1")
    assert (shown["payload"], shown["projection"]) == ({"delta": 1, "reason": "count"}, "ship")
    assert (await mongo.checkpoint())["parked_sequences"] == 1


async def test_a_payload_that_cannot_be_decoded_fails_like_a_handler(
    stock: Stock, mongo: Kept, outside: Outside, settings: Settings
) -> None:
    told: list[Exception] = []
    reaction = a_reaction(outside, key=lambda event: event.reason)

    @reaction.when_exhausted
    async def settle(_: Envelope, error: Exception, __: Ports) -> bool:
        told.append(error)
        return True

    async with reacting(quick(settings), reaction):
        await stock.raw("a", "StockAdjusted", '{"delta": "many", "reason": "count"}')
        await stock.adjust("b")
        await stock.raw("c", "StockAdjusted", "no json")
        await stock.raw("c", "SomethingNew", "{}")
        await mongo.come_to(("a", 1, "failed"), ("b", 2, "waiting"), ("c", 3, "failed"))
        await mongo.reached(4)
    assert (await mongo.letters())[0]["sequence"] == "count"
    assert (outside.begun, told) == ([], [])


async def test_what_a_reaction_does_last_may_settle_it(
    stock: Stock, mongo: Kept, outside: Outside, settings: Settings
) -> None:
    reaction, told = a_reaction(outside), list[tuple[Call, str]]()
    outside.refuse(("a", 1), ("b", 1))

    @reaction.when_exhausted
    async def settle(envelope: Envelope, error: Exception, _: Ports) -> bool:
        call = envelope.aggregate_id, envelope.aggregate_version
        told.append((call, str(error)))
        if len(told) == 1:
            raise ConnectionError("not yet")
        if len(told) == 2:
            raise NotNow("Postgres")
        return call == ("a", 1)

    async with reacting(quick(settings), reaction):
        await stock.adjust("a", "a")
        await outside.did(("a", 2))
        await mongo.reached(2)
        assert await mongo.letters() == []
        assert told == [(("a", 1), "no such address")] * 3
        await stock.adjust("b")
        await mongo.come_to(("b", 3, "failed"))
    assert told[3:] == [(("b", 1), "no such address")]


async def test_our_own_stores_are_waited_for_however_long_and_readiness_says_so(
    stock: Stock, mongo: Kept, outside: Outside, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(troubles_module, "_PATIENCE_SECONDS", 0.05)
    outside.refuse(error=NotNow("Postgres: ConnectionRefusedError"))
    async with reacting(quick(settings), a_reaction(outside)) as daemon:
        await stock.adjust("a")
        await outside.began(("a", 1), times=6)
        with pytest.raises(NotReadyError, match="ship: waiting for Postgres: ConnectionRefusedError"):
            await daemon.reactions_work()
        outside.agree()
        await outside.did(("a", 1))
        await mongo.reached(1)
        await daemon.reactions_work()
    assert await mongo.letters() == []


async def test_a_handler_that_cancels_itself_from_within_has_failed_and_nothing_worse(
    stock: Stock, mongo: Kept, outside: Outside, settings: Settings
) -> None:
    async def cancels(_: Call) -> None:
        raise asyncio.CancelledError

    outside.behave = cancels
    async with reacting(quick(settings), a_reaction(outside)):
        await stock.adjust("a")
        await mongo.come_to(("a", 1, "failed"))


async def test_an_event_is_answered_at_once_and_not_at_the_next_tick(
    stock: Stock, outside: Outside, settings: Settings
) -> None:
    async with reacting(quick(settings), a_reaction(outside)) as daemon:
        await stock.adjust("warm")
        await outside.did(("warm", 1))
        took = []
        for version in range(1, 21):
            call, *_ = await stock.adjust("a")
            daemon._sequencing.wake()  # as the doorbell does, but for the way through the network
            began = time.monotonic()
            await outside.did(call)
            took.append(time.monotonic() - began)
            assert call == ("a", version)
    # In the quiet a few milliseconds; the limit is for busy machines, and far below the tick.
    assert sorted(took)[10] < 0.3, took


async def test_events_that_nobody_answers_move_the_checkpoint_and_cost_little(
    stock: Stock, mongo: Kept, outside: Outside, settings: Settings
) -> None:
    async with reacting(quick(settings), a_reaction(outside)) as daemon:
        await stock.adjust("a")
        await mongo.reached(1)
        writes = 0
        progress = runner_of(daemon)._progress
        write = progress.write

        async def counted(*arguments: object) -> None:
            nonlocal writes
            writes += 1
            await write(*arguments)  # type: ignore[arg-type]

        progress.write = counted  # type: ignore[method-assign,assignment]
        began = time.monotonic()
        for _ in range(50):
            await stock.raw("a", "SomethingNew", "{}")
        await mongo.reached(51)
        assert writes <= 2 + time.monotonic() - began


async def test_nothing_is_done_that_did_not_end_and_what_ends_in_time_is(
    stock: Stock, mongo: Kept, outside: Outside, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reactor_module, "GRACE_SECONDS", 1.0)
    hangs, ends = Gate(), asyncio.Event()

    async def behave(call: Call) -> None:
        if call == ("a", 1):
            await hangs.passed()
        if call == ("b", 1):
            ends.set()
            await asyncio.sleep(0.2)

    outside.behave = behave
    async with reacting(quick(settings), a_reaction(outside)):
        await stock.adjust("a", "b", "b", "a")
        await outside.began(("a", 1), ("b", 1))
        await ends.wait()
    assert outside.done == [("b", 1)], "nothing new is begun at the end"
    found = await mongo.checkpoint()
    assert (found["position"], found["done"]) == (0, [2])

    outside.agree()
    async with reacting(quick(settings), a_reaction(outside)):
        await outside.did(("a", 1), ("a", 2), ("b", 2))
        await mongo.reached(4)
    assert outside.attempts(("b", 1)) == 1, "what was done is not repeated"


async def test_a_window_that_is_full_takes_in_no_more_until_the_oldest_is_finished(
    stock: Stock, mongo: Kept, outside: Outside, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reactor_module, "MOST_TAKEN_IN", 20)
    gate = Gate()

    async def behave(call: Call) -> None:
        if call == ("slow", 1):
            await gate.passed()

    outside.behave = behave
    async with reacting(quick(settings), a_reaction(outside)):
        calls = await stock.adjust("slow", *(f"p-{number}" for number in range(100)))
        await outside.did(*calls[1:20])
        await asyncio.sleep(0.1)
        assert len(outside.done) == 19
        found = await mongo.checkpoint()
        assert found["position"] == 0
        assert len(found["done"]) <= 20
        gate.open()
        await outside.did(*calls)
        await mongo.reached(101)
    assert sorted(outside.begun) == sorted(calls)


async def _is_idle(daemon: Daemon) -> bool:
    return runner_of(daemon).health == "idle"


async def test_where_it_stands_is_told(stock: Stock, outside: Outside, settings: Settings) -> None:
    async with reacting(quick(settings), a_reaction(outside)) as daemon:
        await stock.adjust("a")
        await outside.did(("a", 1))
        await until(lambda: _is_idle(daemon), "it to be idle")
        assert runner_of(daemon).status() == {
            "name": "ship",
            "state": "active",
            "health": "idle",
            "epoch": 1,
            "trouble": None,
            "position": 1,
            "head": 1,
            "lag_events": 0,
            "lag_seconds": 0.0,
            "in_flight": 0,
            "parked_sequences": 0,
        }
