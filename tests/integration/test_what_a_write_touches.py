"""Whoever writes documents of a view moves its checkpoint in the same transaction, which names them, or names nothing.

Readers rely on it: what they keep of documents is forgotten by what the checkpoint says (`query.remembered`).
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from events.ordering import OrderCanceled, OrderPaid, OrderPlaced
from projector import store as store_module
from runtime.mongo import Database
from runtime.settings import Settings
from tests.instances import MEMBER_PROFILE, ORDER_DETAIL, PRODUCT_CATALOG, SALES_STATISTICS
from tests.integration.poison import Log, Views, log, poison, projecting, views
from tests.integration.projecting import ReadSide
from tests.integration.test_verification import healed

__all__ = ["log", "views"]  # fixtures

INSTANCES = {ORDER_DETAIL, MEMBER_PROFILE, PRODUCT_CATALOG, SALES_STATISTICS}
Change = dict[str, Any]


@asynccontextmanager
async def recorded(database: Database) -> AsyncIterator[list[Change]]:
    """Every change of the database while this is entered, complete afterwards."""
    changes: list[Change] = []
    async with database.watch() as stream:
        yield changes
        await database.the_end.insert_one({})
        async for change in stream:
            if change["ns"]["coll"] == "the_end":
                return
            changes.append(change)


def transactions(changes: Iterable[Change]) -> list[dict[str, list[Change]]]:
    """By collection, what each transaction changed; of no transaction is what was written by itself."""
    found: defaultdict[Any, defaultdict[str, list[Change]]] = defaultdict(lambda: defaultdict(list))
    for number, change in enumerate(changes):
        key = (change["lsid"]["id"], change["txnNumber"]) if "txnNumber" in change else number
        found[key][change["ns"]["coll"]].append(change)
    return [dict(one) for one in found.values()]


def touched(changes: Iterable[Change]) -> list[tuple[str, set[str], set[str] | None]]:
    """Per transaction and instance: which documents it changed, and which it says that it touched."""
    told = []
    for one in transactions(changes):
        for instance in INSTANCES & one.keys():
            [move] = [change for change in one.get("checkpoints", ()) if change["documentKey"]["_id"] == instance]
            told.append((instance, {change["documentKey"]["_id"] for change in one[instance]}, _named(move)))
    return told


def _named(move: Change) -> set[str] | None:
    updated = move["updateDescription"]["updatedFields"]
    named = updated.get("touched")
    return set(named[1:]) if named and named[0] == updated.get("position") else None


async def test_every_transaction_that_changes_documents_names_them_or_names_nothing(
    log: Log, views: Views, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "_MOST_TOLD", 5)
    bad, marked = await log.place("p-1", "p-2"), await log.place("p-1")
    async with recorded(views.database) as changes:
        with pytest.MonkeyPatch.context() as broken:
            poison(broken, "order_detail", OrderPaid, bad)
            poison(broken, "order_detail", OrderCanceled, marked)
            poison(broken, "member_profile", OrderPlaced, bad)
            async with projecting(settings):
                await views.reached(log.count)
                for _ in range(3):
                    fine = await log.place("p-1")
                    await log.pay(fine)
                    await views.reached(log.count)
                for parked in (log.pay(bad), log.cancel(marked)):  # of the second nothing is written but the mark
                    await parked
                    await views.reached(log.count)
                broken.undo()
                letters = await views.letters.ask_retry(None, "ann")
                for letter, request in letters.items():
                    await views.letters.outcome(letter, request, 60.0)
                await views.database[ORDER_DETAIL].update_one({"_id": fine}, {"$set": {"version": 77}})
                changes_by_hand = 1
                assert (await healed(settings, ReadSide(views.database), "order_detail")).left == 0
            many = [await log.place("p-1") for _ in range(20)]
            async with projecting(settings):
                await views.reached(log.count)

    by_hand = [one for one in changes if "txnNumber" not in one and one["ns"]["coll"] in INSTANCES]
    assert len(by_hand) == changes_by_hand
    told = touched(one for one in changes if one not in by_hand)
    for instance, changed, named in told:
        assert named is None or changed <= named, instance
        assert instance != SALES_STATISTICS or named is None
    of_orders = [(changed, named) for instance, changed, named in told if instance == ORDER_DETAIL]
    assert ({fine}, {fine}) in of_orders
    assert [named for changed, named in of_orders if bad in changed][-1] is None  # repaired
    assert ({marked}, None) in of_orders
    assert ({fine}, None) in of_orders  # healed
    assert [named for changed, named in of_orders if changed & set(many) and len(changed) > 5] in ([None], [])
