"""Dead letters of reactions: retried in order, discarded with a reason, by the owner and by nobody else."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from pymongo.errors import AutoReconnect

from events.catalog import StockAdjusted
from events.envelope import Envelope
from events.reaction import Ports
from projector.dead_letters import DeadLetterSettled, Filter
from projector.parked import ParkedSequences
from projector.reacting.progress import MongoProgress
from runtime.settings import Settings
from tests.integration.poison import poison
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
    """An empty log; the reaction is known from its beginning on."""
    async with a_stock(postgres_url, "ship") as stock:
        yield stock


async def test_a_retry_goes_in_order_and_what_succeeds_leaves(
    stock: Stock, mongo: Kept, outside: Outside, settings: Settings
) -> None:
    outside.refuse(("a", 1))
    async with reacting(quick(settings), a_reaction(outside)) as daemon:
        await stock.adjust("a", "a", "a", "b")
        await mongo.come_to(("a", 1, "failed"), ("a", 2, "waiting"), ("a", 3, "waiting"))
        outside.agree()
        outcomes = await mongo.retried()
        assert {one["state"] for one in outcomes} == {"resolved"}
        assert outside.done == [("b", 1), ("a", 1), ("a", 2), ("a", 3)]
        await stock.adjust("a")
        await outside.did(("a", 4))
        await mongo.reached(5)
        assert runner_of(daemon).status()["parked_sequences"] == 0
    assert (await mongo.letters(), (await mongo.checkpoint())["parked_sequences"]) == ([], 0)
    whole = await mongo.dead.show("reaction:ship.1")
    assert [(one["by"], one["what"]) for one in whole["history"]] == [("ann", "retry"), ("ann", "succeeded")]
    assert whole["state"] == "resolved"


async def test_what_fails_again_keeps_the_rest_waiting_and_is_tried_once(
    stock: Stock, mongo: Kept, outside: Outside, settings: Settings
) -> None:
    outside.refuse(("a", 1))
    async with reacting(quick(settings), a_reaction(outside)):
        await stock.adjust("a", "a", "a")
        await mongo.come_to(("a", 1, "failed"), ("a", 2, "waiting"), ("a", 3, "waiting"))
        [again] = await mongo.retried("reaction:ship.1")
        assert (again["state"], again["attempts"], outside.attempts(("a", 1))) == ("failed", 4, 4)
        outside.refuse(("a", 2))

        [first] = await mongo.retried("reaction:ship.1")

        assert first["state"] == "resolved"
        await mongo.come_to(("a", 2, "failed"), ("a", 3, "waiting"))
        # It had only waited until now: it has all its attempts.
        assert outside.attempts(("a", 2)) == 3
        assert (await mongo.letters())[0]["attempts"] == 3


async def test_whoever_is_asked_about_a_later_letter_tries_those_before_it(
    stock: Stock, mongo: Kept, outside: Outside, settings: Settings
) -> None:
    outside.refuse()
    async with reacting(quick(settings), a_reaction(outside)):
        await stock.adjust("a", "a", "b")
        await mongo.come_to(("a", 1, "failed"), ("a", 2, "waiting"), ("b", 3, "failed"))
        outside.agree()
        [second] = await mongo.retried("reaction:ship.2")
        assert second["state"] == "resolved"
        assert outside.done == [("a", 1), ("a", 2)]
        await mongo.come_to(("b", 3, "failed"))


async def test_what_arrives_while_its_sequence_is_repaired_comes_after_it(
    stock: Stock, mongo: Kept, outside: Outside, settings: Settings
) -> None:
    gate = Gate()

    async def behave(call: Call) -> None:
        if call == ("a", 1):
            await gate.passed()

    outside.refuse(("a", 1))
    async with reacting(quick(settings), a_reaction(outside)):
        await stock.adjust("a")
        await mongo.come_to(("a", 1, "failed"))
        outside.behave = behave
        await mongo.dead.ask_retry(None, "ann")
        await outside.began(("a", 1), times=4)
        await stock.adjust("a", "a", "b")
        await outside.did(("b", 1))
        await mongo.come_to(("a", 1, "failed"), ("a", 2, "waiting"), ("a", 3, "waiting"))
        gate.open()
        await outside.did(("a", 3))
        await mongo.come_to()
        await mongo.reached(4)
        await stock.adjust("a")
        await outside.did(("a", 4))
    assert [version for product, version in outside.done if product == "a"] == [1, 2, 3, 4]


async def test_what_arrives_in_the_moment_in_which_its_sequence_is_found_free_does_not_wait_for_nobody(
    stock: Stock, mongo: Kept, outside: Outside, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside.refuse(("a", 1))
    async with reacting(quick(settings), a_reaction(outside)) as daemon:
        await stock.adjust("a")
        await mongo.come_to(("a", 1, "failed"))
        letters_of, late = ParkedSequences.letters_of, list[Call]()
        reactor = runner_of(daemon)._reactor
        assert reactor is not None

        async def has_arrived() -> bool:
            return "a" in reactor.just_parked

        async def found(self: ParkedSequences, sequence: str) -> list[dict[str, Any]]:
            letters = await letters_of(self, sequence)
            if not letters and not late:
                late.extend(await stock.adjust("a"))
                await until(has_arrived, "the event that comes too late")
            return letters

        monkeypatch.setattr(ParkedSequences, "letters_of", found)
        outside.agree()
        await mongo.retried("reaction:ship.1")
        await outside.did(("a", 2))
        await mongo.come_to()
    assert late == [("a", 2)]


async def test_discarding_skips_one_event_for_good_and_what_waited_behind_it_goes_on(
    stock: Stock, mongo: Kept, outside: Outside, settings: Settings
) -> None:
    outside.refuse(("a", 1))
    async with reacting(quick(settings), a_reaction(outside)):
        await stock.adjust("a", "a", "a")
        await mongo.come_to(("a", 1, "failed"), ("a", 2, "waiting"), ("a", 3, "waiting"))
        assert (await mongo.discarded("reaction:ship.3"))["state"] == "discarded"
        assert outside.attempts(("a", 2)) == 0, "what it waits for has not changed"
        assert (await mongo.discarded("reaction:ship.1"))["state"] == "discarded"
        await outside.did(("a", 2))
        await mongo.come_to(("a", 1, "discarded"), ("a", 3, "discarded"))
        await stock.adjust("a")
        await outside.did(("a", 4))
        await mongo.reached(4)
    assert outside.done == [("a", 2), ("a", 4)]
    with pytest.raises(DeadLetterSettled):
        await mongo.dead.refuse_settled("reaction:ship.1")
    # Not even one that begins from nothing asks anybody again.
    await mongo.database["reactions"].delete_many({})
    async with reacting(quick(settings), a_reaction(outside)):
        await mongo.reached(4)
    assert outside.done == [("a", 2), ("a", 4)] * 2


async def test_what_was_asked_for_while_no_projector_ran_is_done_by_the_next(
    stock: Stock, mongo: Kept, outside: Outside, settings: Settings
) -> None:
    outside.refuse(("a", 1))
    async with reacting(quick(settings), a_reaction(outside)):
        await stock.adjust("a", "a")
        await mongo.come_to(("a", 1, "failed"), ("a", 2, "waiting"))
    outside.agree()
    await mongo.dead.ask_retry(["reaction:ship.1"], "ann")
    await stock.adjust("a")
    async with reacting(quick(settings), a_reaction(outside)):
        await outside.did(("a", 1), ("a", 2), ("a", 3))
        await mongo.come_to()
    assert outside.done == [("a", 1), ("a", 2), ("a", 3)]


async def test_what_is_parked_stays_so_for_the_next_owner_which_goes_on_with_what_waits_for_nothing(
    stock: Stock, mongo: Kept, outside: Outside, settings: Settings
) -> None:
    outside.refuse(("a", 1), ("b", 1))
    async with reacting(quick(settings), a_reaction(outside)):
        await stock.adjust("a", "a", "b", "b")
        await mongo.come_to(("a", 1, "failed"), ("a", 2, "waiting"), ("b", 3, "failed"), ("b", 4, "waiting"))
    # As an owner leaves it that dies right after the one in front has left.
    await mongo.database["dead_letters"].delete_one({"_id": "reaction:ship.1"})
    await stock.adjust("b")
    async with reacting(quick(settings), a_reaction(outside)):
        await outside.did(("a", 2))
        await mongo.come_to(("b", 3, "failed"), ("b", 4, "waiting"), ("b", 5, "waiting"))


async def test_what_happens_last_is_not_said_twice_of_what_fails_again(
    stock: Stock, mongo: Kept, outside: Outside, settings: Settings
) -> None:
    reaction, told = a_reaction(outside), list[int]()
    outside.refuse()

    @reaction.when_exhausted
    async def tell(envelope: Envelope, _: Exception, __: Ports) -> bool:
        told.append(envelope.aggregate_version)
        return False

    async with reacting(quick(settings), reaction):
        await stock.adjust("a", "a")
        await mongo.come_to(("a", 1, "failed"), ("a", 2, "waiting"))
        await mongo.retried("reaction:ship.1")
        assert told == [1]
        outside.refuse(("a", 2))
        await mongo.retried("reaction:ship.1")
        await mongo.come_to(("a", 2, "failed"))
        assert told == [1, 2]


async def test_where_it_is_set_a_letter_is_tried_again_by_itself_ever_more_rarely(
    stock: Stock, mongo: Kept, outside: Outside, settings: Settings
) -> None:
    outside.refuse(("a", 1))
    async with reacting(quick(settings, retry_dead_letters_seconds=1), a_reaction(outside)):
        await stock.adjust("a", "a")
        await outside.began(("a", 1), times=4)
        outside.agree()
        await outside.did(("a", 1), ("a", 2))
        await mongo.come_to()
    first, second = (await mongo.dead.show("reaction:ship.1"))["history"]
    assert [(one["by"], one["what"]) for one in (first, second)] == [
        ("projector", "failed again"),
        ("projector", "succeeded"),
    ]
    assert datetime.fromisoformat(second["at"]) - datetime.fromisoformat(first["at"]) >= timedelta(seconds=2)


async def test_a_write_whose_answer_is_lost_is_done_again_and_overwrites_no_request(
    stock: Stock, mongo: Kept, outside: Outside, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    transact, lost = MongoProgress._transact, asyncio.Event()

    async def loses_the_answer(self: MongoProgress, work: object) -> None:
        await transact(self, work)  # type: ignore[arg-type]
        if not lost.is_set():
            lost.set()
            await mongo.dead.ask_discard("reaction:ship.1", "ann", "before anybody knew")
            raise AutoReconnect("connection closed")

    monkeypatch.setattr(MongoProgress, "_transact", loses_the_answer)
    gate = Gate()

    async def behave(call: Call) -> None:
        if call == ("a", 1):
            raise ValueError("no such address")
        await gate.passed()

    outside.behave = behave
    async with reacting(quick(settings), a_reaction(outside)):
        await stock.adjust("a", "b")
        await mongo.come_to(("a", 1, "discarded"))
        gate.open()
        await mongo.reached(2)
    assert outside.attempts(("a", 1)) == 3
    assert outside.attempts(("b", 1)) == 1, "nothing had to be begun again for that"


async def test_a_settlement_whose_answer_is_lost_leaves_nothing_waiting_for_nobody(
    stock: Stock, mongo: Kept, outside: Outside, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle, losing = MongoProgress.settle, [True, True]

    async def loses_the_answer(self: MongoProgress, *arguments: object) -> None:
        await settle(self, *arguments)  # type: ignore[arg-type]
        if losing:
            losing.pop()
            raise AutoReconnect("connection closed")

    outside.refuse(("a", 1))
    async with reacting(quick(settings), a_reaction(outside)):
        await stock.adjust("a", "a", "a")
        await mongo.come_to(("a", 1, "failed"), ("a", 2, "waiting"), ("a", 3, "waiting"))
        monkeypatch.setattr(MongoProgress, "settle", loses_the_answer)
        outside.agree()
        await mongo.dead.ask_retry(["reaction:ship.1"], "ann")
        await mongo.come_to()
        await stock.adjust("a")
        await outside.did(("a", 4))
    assert outside.done == [("a", 1), ("a", 2), ("a", 3), ("a", 4)]


async def test_views_and_reactions_do_not_see_each_others_letters(
    stock: Stock, mongo: Kept, outside: Outside, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison(monkeypatch, "product_catalog", StockAdjusted, "p-1")
    outside.refuse()
    async with a_read_side(settings) as read_side, reacting(quick(settings), a_reaction(outside)) as daemon:
        await stock.adjust("p-1")
        await read_side.reached(1)
        await mongo.come_to(("p-1", 1, "failed"))
        of_view = await mongo.dead.page(Filter(projection="product_catalog"), 10)
        assert [one["id"] for one in of_view] == ["product_catalog.v1.1"]
        outside.agree()
        await mongo.retried("reaction:ship.1")
        await mongo.come_to()
        parked = {one.name: one.status()["parked_sequences"] for one in daemon.runners}
        assert parked == dict.fromkeys(parked, 0) | {"product_catalog": 1}
        assert await mongo.states("product_catalog") == [("p-1", 1, "failed")]
        # A view that is made anew skips what was discarded of it, and not what was discarded of a reaction.
        outside.refuse()
        await stock.adjust("p-2")
        await mongo.come_to(("p-2", 2, "failed"))
        await mongo.discarded("reaction:ship.2")
        assert await daemon.runners[2]._store.letters.discarded() == set()
