"""The judgement can fail: every kind of damage to a log that was right is seen, and what is no damage is not."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from tests.torture import commands
from tests.torture.ledger import Json, Ledger
from tests.torture.oracle import judged_log

ORDER = "o-1"


def event(position: int, version: int, name: str, data: Json, aggregate: tuple[str, str] = ("order", ORDER)) -> Json:
    """As the feed tells it."""
    return {
        "id": f"e-{position}",
        "position": position,
        "type": name,
        "subject": "/".join(aggregate),
        "aggregatetype": aggregate[0],
        "aggregateid": aggregate[1],
        "aggregateversion": version,
        "data": data,
    }


@pytest.fixture
def told() -> tuple[Ledger, list[Json]]:
    """Three acknowledged commands on an order and one on a product, and the log that they made."""
    ledger = Ledger()
    placed = commands.place_order([("t-0", 1)], "word 1")
    for command, version in (
        (placed, 1),
        (commands.pay(ORDER, "tok_fine"), 2),
        (commands.redirect(ORDER, "word 2"), 4),
    ):
        ledger.acknowledge(command, {"order_id": ORDER, "version": version}, "token")
    stock = commands.adjust_stock("t-0", 5, "word 3")
    ledger.acknowledge(stock, {"product_id": "t-0", "version": 1}, "token")
    log = [
        event(1, 1, "OrderPlaced", placed.holds),
        event(2, 2, "PaymentRequested", {**commands.pay(ORDER, "tok_fine").holds, "payment_id": "p"}),
        event(3, 3, "OrderPaid", {"payment_id": "p"}),
        event(4, 1, "StockAdjusted", {"delta": 5, "reason": "word 3"}, ("product", "t-0")),
        event(5, 4, "ShippingInfoChanged", commands.redirect(ORDER, "word 2").holds),
    ]
    return ledger, log


def test_a_log_of_what_was_acknowledged_is_right(told: tuple[Ledger, list[Json]]) -> None:
    assert judged_log(*told) == []


def lost(log: list[Json]) -> None:
    log.pop()


def gap(log: list[Json]) -> None:
    log[-1]["position"] += 1


def swapped(log: list[Json]) -> None:
    log[0]["aggregateversion"], log[1]["aggregateversion"] = 2, 1


def twice(log: list[Json]) -> None:
    log.append(event(6, 5, "ShippingInfoChanged", log[-1]["data"]))


def another(log: list[Json]) -> None:
    log[-1]["data"] = {"shipping_info": "elsewhere"}


def paid_twice(log: list[Json]) -> None:
    log.append(event(6, 5, "OrderPaid", {"payment_id": "p"}))


def unasked(log: list[Json]) -> None:
    log.append(event(6, 5, "ShippingStarted", {"carrier": "Snail", "tracking_number": "?"}))


@pytest.mark.parametrize("damage", [lost, gap, swapped, twice, another, paid_twice, unasked])
def test_a_damaged_log_is_not(told: tuple[Ledger, list[Json]], damage: Callable[[list[Json]], Any]) -> None:
    ledger, log = told
    damage(log)
    assert judged_log(ledger, log) != []


def test_an_undecided_command_may_have_had_its_effect_once(told: tuple[Ledger, list[Json]]) -> None:
    ledger, log = told
    ledger.undecided.append(commands.cancel(ORDER, "word 4"))
    assert judged_log(ledger, log) == []

    log.append(event(6, 5, "OrderCanceled", {"reason": "word 4"}))
    assert judged_log(ledger, log) == []

    log.append(event(7, 6, "OrderCanceled", {"reason": "word 4"}))
    assert judged_log(ledger, log) != []


def test_a_payment_may_be_settled_after_its_answer(told: tuple[Ledger, list[Json]]) -> None:
    ledger, log = told
    asked = commands.pay("o-2", "tok_fine")
    ledger.undecided.append(commands.place_order([("t-1", 1)], "word 5"))
    ledger.acknowledge(asked, {"order_id": "o-2", "version": 2}, "token")
    other = ("order", "o-2")
    log += [
        event(6, 1, "OrderPlaced", commands.place_order([("t-1", 1)], "word 5").holds, other),
        event(7, 2, "PaymentRequested", {**commands.pay("o-2", "tok_fine").holds, "payment_id": "q"}, other),
        event(8, 3, "OrderPaid", {"payment_id": "q"}, other),
    ]
    assert judged_log(ledger, log) == []


def test_a_log_that_changed_since_it_was_followed_is_wrong(told: tuple[Ledger, list[Json]]) -> None:
    ledger, log = told
    ledger.seen = copy.deepcopy(log[:3])
    assert judged_log(ledger, log) == []

    log[0]["id"] = ledger.seen[0]["id"] = "e-other"
    ledger.seen[1]["data"]["method"] = "points"
    assert judged_log(ledger, log) != []
