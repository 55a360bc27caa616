"""Dead letters between a real Postgres and a real MongoDB: retried in order, discarded with a reason, exact after."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest

from events.ordering import OrderCanceled, OrderPaid, OrderPlaced
from projector import unparking
from projector.dead_letters import DeadLetterSettled, Filter, NoSuchDeadLetter
from projector.failures import GuardFailed
from projector.folding import Folded, Settlement
from projector.runner import Runner
from projector.store import ViewStore
from runtime.clock import now
from runtime.settings import Settings
from tests.instances import ORDER_DETAIL, SALES_STATISTICS
from tests.integration.poison import VIEWS, Log, Views, log, poison, projecting, soundly_projected, until, views
from views import order_detail

__all__ = ["log", "views"]  # fixtures

OUTCOME_SECONDS = 60.0


async def retried(views: Views, *letters: str) -> list[dict[str, Any]]:
    """Ask for these (none: all) to be retried; how each has ended."""
    asked = await views.letters.ask_retry(letters or None, "ann")
    return [await views.letters.outcome(one, request, OUTCOME_SECONDS) for one, request in asked.items()]


async def discarded(views: Views, letter: str, reason: str = "sent twice") -> dict[str, Any]:
    """Discard a letter; what has become of it."""
    asked = await views.letters.ask_discard(letter, "ann", reason)
    return await views.letters.outcome(letter, asked[letter], OUTCOME_SECONDS)


@pytest.mark.parametrize("view", sorted(VIEWS))
async def test_a_retry_after_a_repair_makes_every_document_what_it_had_been_without_the_failure(
    log: Log, views: Views, settings: Settings, view: str
) -> None:
    bad, fine = await log.place("p-1", "p-2"), await log.place("p-1")
    with pytest.MonkeyPatch.context() as broken:
        poison(broken, view, OrderPlaced, bad)
        async with projecting(settings):
            for order_id in (bad, fine):
                await log.pay(order_id)
            await views.reached(log.count)
            await log.cancel(bad)
            await views.reached(log.count)
            states = await views.states(view)
            assert states[0] == ("OrderPlaced", "failed")
            assert {state for _, state in states[1:]} == {"waiting"}
            assert await views.parked(view) == 1

            broken.undo()
            outcomes = await retried(views)

            assert {one["state"] for one in outcomes} == {"resolved"}
            assert await views.states(view) == []
            assert await views.parked(view) == 0
            await log.place("p-2")
            await views.reached(log.count)
    assert await views.documents() == await soundly_projected(settings, log)


async def test_what_fails_again_keeps_the_rest_waiting_and_what_was_before_it_leaves(
    log: Log, views: Views, settings: Settings
) -> None:
    order_id = await log.place()
    await log.pay(order_id)
    with pytest.MonkeyPatch.context() as broken:
        poison(broken, "order_detail", OrderPlaced, order_id)
        async with projecting(settings):
            await log.cancel(order_id)
            await views.reached(log.count)
            first, _, paid, _ = await views.ids("order_detail")
            broken.undo()
            poison(broken, "order_detail", OrderPaid, order_id)

            assert [one["state"] for one in await retried(views, first)] == ["resolved"]

            assert await views.states("order_detail") == [("OrderPaid", "failed"), ("OrderCanceled", "waiting")]
            detail = (await views.documents())["order_detail"][order_id]
            assert (detail["payment"]["status"], detail["_parked"]) == ("REQUESTED", True)

            [again] = await retried(views, paid)
            assert (again["state"], again["attempts"]) == ("failed", 2)
            broken.undo()
            await retried(views)
    assert await views.documents() == await soundly_projected(settings, log)


async def test_new_events_queue_behind_and_every_other_order_flows_on(
    log: Log, views: Views, settings: Settings
) -> None:
    bad, fine = await log.place(), await log.place()
    with pytest.MonkeyPatch.context() as broken:
        poison(broken, "order_detail", OrderPaid, bad)
        async with projecting(settings):
            for order_id in (bad, fine):
                await log.pay(order_id)
            await views.reached(log.count)
            await retried(views)
            for order_id in (bad, fine):
                await log.cancel(order_id)
            await views.reached(log.count)

            details = (await views.documents())["order_detail"]
            assert (details[bad]["status"], details[fine]["status"]) == ("PAYMENT_WAITING", "CANCELED")
            assert "_parked" not in details[fine]
            assert await views.states("order_detail") == [("OrderPaid", "failed"), ("OrderCanceled", "waiting")]


async def test_a_document_of_several_aggregates_stays_marked_until_none_of_them_waits(
    log: Log, views: Views, settings: Settings
) -> None:
    one, two = await log.place("p-1"), await log.place("p-1", "p-2")
    with pytest.MonkeyPatch.context() as broken:
        poison(broken, "product_catalog", OrderCanceled, one, two)
        async with projecting(settings) as daemon:
            for order_id in (one, two):
                await log.cancel(order_id)
            await log.place("p-1")  # replaces the marked document
            await views.reached(log.count)
            assert await marks(views) == {"p-1", "p-2"}
            first, _ = await views.ids("product_catalog")
            broken.undo()
            poison(broken, "product_catalog", OrderCanceled, two)

            await retried(views, first)

            assert await marks(views) == {"p-1", "p-2"}
            await log.place("p-1")
            await views.reached(log.count)
            assert await marks(views) == {"p-1", "p-2"}
            broken.undo()
            await retried(views)
            assert await marks(views) == set()
            assert runner_of(daemon.runners, "product_catalog").status()["parked_sequences"] == 0
    assert await views.documents() == await soundly_projected(settings, log)


async def marks(views: Views) -> set[str]:
    """The products that are marked as parked."""
    return {key for key, one in (await views.documents())["product_catalog"].items() if "_parked" in one}


def runner_of(runners: list[Runner], view: str) -> Runner:
    """The one of this view."""
    return next(runner for runner in runners if runner.name == view)


async def test_discarding_skips_one_event_for_good_and_what_waited_behind_it_goes_on(
    log: Log, views: Views, settings: Settings
) -> None:
    order_id = await log.place()
    with pytest.MonkeyPatch.context() as broken:
        poison(broken, "sales_statistics", OrderPaid, order_id)
        async with projecting(settings):
            await log.pay(order_id)
            await log.cancel(order_id)
            await views.reached(log.count)
            letter, _ = await views.ids("sales_statistics")

            assert (await discarded(views, letter))["state"] == "discarded"

            assert await views.states("sales_statistics") == [("OrderPaid", "discarded")]
            assert await views.parked("sales_statistics") == 0
            total = next(
                one for key, one in (await views.documents())["sales_statistics"].items() if one.get("canceled_orders")
            )
            assert "paid_orders" not in total
            with pytest.raises(DeadLetterSettled):
                await views.letters.refuse_settled(letter)
    # Nobody is asked again, not even when the view is made anew.
    await views.database[SALES_STATISTICS].drop()
    await views.database["checkpoints"].delete_one({"view": "sales_statistics"})
    async with projecting(settings):
        await views.reached(log.count)
    assert not any("paid_orders" in one for one in (await views.documents())["sales_statistics"].values())


async def test_who_asked_for_what_and_why_is_kept(log: Log, views: Views, settings: Settings) -> None:
    order_id = await log.place()
    with pytest.MonkeyPatch.context() as broken:
        poison(broken, "order_detail", OrderPlaced, order_id)
        async with projecting(settings):
            await log.cancel(order_id)
            await views.reached(log.count)
            placed, canceled = await views.ids("order_detail")
            await retried(views, placed)
            await discarded(views, canceled, "test data")
            broken.undo()
            await retried(views, placed)

    gone, kept = await views.letters.show(placed), await views.letters.show(canceled)
    assert [(one["by"], one["what"]) for one in gone["history"]] == [
        ("ann", "retry"),
        ("ann", "failed again"),
        ("ann", "retry"),
        ("ann", "succeeded"),
    ]
    assert (gone["state"], gone["payload"]["currency"]) == ("resolved", "EUR")
    assert "no such step" in gone["traceback"]
    assert [(one["what"], one["reason"]) for one in kept["history"]] == [
        ("discard", "test data"),
        ("discarded", "test data"),
    ]
    with pytest.raises(NoSuchDeadLetter):
        await views.letters.show(f"{ORDER_DETAIL}.999")


async def test_what_was_asked_for_while_no_projector_ran_is_done_by_the_next(
    log: Log, views: Views, settings: Settings
) -> None:
    order_id = await log.place()
    with pytest.MonkeyPatch.context() as broken:
        poison(broken, "order_detail", OrderPaid, order_id)
        async with projecting(settings):
            await log.pay(order_id)
            await views.reached(log.count)
    asked = await views.letters.ask_retry(None, "ann")
    [pending] = await views.letters.page(Filter(state="retry-requested"), 10)
    assert pending["id"] in asked
    await log.cancel(order_id)

    async with projecting(settings):
        await views.letters.outcome(pending["id"], asked[pending["id"]], OUTCOME_SECONDS)
        await views.reached(log.count)
    assert await views.states("order_detail") == []
    assert await views.documents() == await soundly_projected(settings, log)


async def test_two_projectors_with_dead_letters_between_them_repeat_and_lose_nothing(
    log: Log, views: Views, settings: Settings
) -> None:
    orders = [await log.place("p-1") for _ in range(20)]
    with pytest.MonkeyPatch.context() as broken:
        for view in VIEWS:
            poison(broken, view, OrderPaid if view != "product_catalog" else OrderPlaced, *orders[::2])
        async with projecting(settings), projecting(settings):
            for order_id in orders:
                await log.pay(order_id)
            await views.reached(log.count)
            broken.undo()
            asked = await views.letters.ask_retry(None, "ann")
            for order_id in orders:
                await log.cancel(order_id)
            for letter, request in asked.items():
                assert (await views.letters.outcome(letter, request, OUTCOME_SECONDS))["state"] == "resolved"
            await retried(views)
            await views.reached(log.count)
    assert await views.documents() == await soundly_projected(settings, log)


async def test_a_projector_that_dies_between_two_aggregates_leaves_the_rest_to_the_next(
    log: Log, views: Views, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders = [await log.place() for _ in range(6)]
    with pytest.MonkeyPatch.context() as broken:
        poison(broken, "sales_statistics", OrderPaid, *orders)
        async with projecting(settings) as daemon:
            for order_id in orders:
                await log.pay(order_id)
            await views.reached(log.count)
            broken.undo()
            store = runner_of(daemon.runners, "sales_statistics")._store
            write = store.write
            written: list[Any] = []

            async def dies(*arguments: Any) -> Any:
                if len(written) == 3:
                    raise GuardFailed  # it stands by, as one that was killed
                written.append(await write(*arguments))
                return written[-1]

            monkeypatch.setattr(store, "write", dies)
            asked = await views.letters.ask_retry(None, "ann")
            for letter in list(asked)[:3]:
                await views.letters.outcome(letter, asked[letter], OUTCOME_SECONDS)
        assert len(await views.states("sales_statistics")) == 3

        async with projecting(settings):
            for letter, request in asked.items():
                assert (await views.letters.outcome(letter, request, OUTCOME_SECONDS))["state"] == "resolved"
    assert await views.documents() == await soundly_projected(settings, log)


async def test_where_it_is_set_a_dead_letter_is_tried_again_by_itself_ever_more_rarely(
    log: Log, views: Views, settings: Settings
) -> None:
    order_id = await log.place()

    async def attempts(at_least: int) -> bool:
        found = await views.letters.page(Filter(), 10)
        return not found or found[0]["attempts"] >= at_least

    with pytest.MonkeyPatch.context() as broken:
        poison(broken, "order_detail", OrderPaid, order_id)
        async with projecting(settings.model_copy(update={"retry_dead_letters_seconds": 1})):
            await log.pay(order_id)
            await views.reached(log.count)
            await until(lambda: attempts(4), "a retry")
            broken.undo()
            await until(lambda: attempts(100), "a retry that succeeds")
    first, second = (await views.letters.show(f"{ORDER_DETAIL}.6"))["history"]
    assert [(one["by"], one["what"]) for one in (first, second)] == [
        ("projector", "failed again"),
        ("projector", "succeeded"),
    ]
    assert datetime.fromisoformat(second["at"]) - datetime.fromisoformat(first["at"]) >= timedelta(seconds=2)
    assert await views.documents() == await soundly_projected(settings, log)


async def test_more_letters_than_fit_into_one_transaction_take_several(
    log: Log, views: Views, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unparking, "_EVENTS_AT_A_TIME", 1)
    order_id = await log.place()
    with pytest.MonkeyPatch.context() as broken:
        poison(broken, "order_detail", OrderPlaced, order_id)
        async with projecting(settings):
            await log.pay(order_id)
            await log.cancel(order_id)
            await views.reached(log.count)
            first, *_ = await views.ids("order_detail")
            broken.undo()
            await retried(views, first)

            async def none_is_left() -> bool:
                return await views.states("order_detail") == []

            await until(none_is_left, "all letters")
    assert await views.documents() == await soundly_projected(settings, log)


async def test_a_projector_that_has_missed_a_retry_writes_nothing_over_what_was_repaired(
    log: Log, views: Views, settings: Settings
) -> None:
    with ThreadPoolExecutor(2) as threads:
        here, there = (ViewStore(views.database, order_detail.view, ORDER_DETAIL, threads) for _ in range(2))
        mine, theirs = await here.prepare(1), await there.prepare(1)
        nothing = Settlement(letters=[], history=[], marked=[], unmarked=[])
        settled = await here.write(Folded(0, [], mine.position, None, None, [], [], nothing), mine, 0)

        assert settled.position == theirs.position
        with pytest.raises(GuardFailed):
            await there.write(Folded(1, [now()], theirs.position + 1, None, now(), [], []), theirs, 0)
        await here.write(Folded(1, [now()], settled.position + 1, None, now(), [], []), settled, 0)
