"""The sampling audit: it finds what differs, its gauge falls when that was healed, and it disturbs nobody."""

import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from events.ordering import OrderPlaced
from eventstore import EventLog
from projector import audit as audit_module
from projector.audit import Audit
from projector.daemon import Daemon
from projector.runner import Runner
from readside.reconciliation import Reconciliation
from runtime.mongo import Database
from runtime.settings import Settings
from tests.instances import ORDER_DETAIL, SALES_STATISTICS
from tests.integration.poison import VIEWS, poison
from tests.integration.projecting import ReadSide, Shop, a_read_side, a_shop, projecting, until
from tests.integration.test_verification import CORRUPTIONS, healed
from views import all_views

SAMPLE = 200
"""More than there are documents: a round then looks at nearly all, and a few rounds at all."""


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Without the daemon's own rounds: these tests begin each themselves."""
    return settings.model_copy(update={"audit_seconds": 0, "audit_sample": SAMPLE})


def drift() -> dict[str, float]:
    """The gauge, by projection; 0 is left out."""
    found = {view: REGISTRY.get_sample_value("readside_drift_documents", {"projection": view}) for view in all_views()}
    return {view: value for view, value in found.items() if value}


def audited(view: str) -> float:
    """How many documents were looked at."""
    return REGISTRY.get_sample_value("readside_audited_documents_total", {"projection": view}) or 0.0


@asynccontextmanager
async def auditing(
    settings: Settings, read_side: ReadSide, runners: Sequence[Runner], reconcile: Reconciliation | None = None
) -> AsyncIterator[Audit]:
    """An audit of these runners' projections."""
    async with EventLog(settings.postgres_url or "", "test audit", pool_size=1) as event_log:
        with closing(Audit(read_side.database, event_log, settings, lambda: runners, reconcile)) as audit:
            yield audit


@asynccontextmanager
async def an_audited_shop(settings: Settings) -> AsyncIterator[tuple[Shop, ReadSide, Daemon]]:
    """A shop, its views, and the projector between them."""
    shopping, reading = a_shop(settings.postgres_url or ""), a_read_side(settings)
    async with shopping as shop, reading as read_side, projecting(settings) as daemon:
        yield shop, read_side, daemon


async def some_orders(shop: Shop, seed: int, count: int) -> None:
    """Whole lives, one after the other."""
    chance = random.Random(seed)
    for _ in range(count):
        await shop.some_order(chance)


async def rounds_until(audit: Audit, expected: set[str]) -> None:
    """Begin rounds until these views, and no others, have documents that differ."""

    async def is_so() -> bool:
        await audit.round()
        return drift().keys() == expected

    await until(is_so, f"drift in {expected}, found {drift()}")


@pytest.mark.parametrize("corruption", CORRUPTIONS)
async def test_what_a_hand_has_changed_is_found_and_the_gauge_falls_when_it_was_healed(
    settings: Settings, corruption: str
) -> None:
    corrupted = CORRUPTIONS[corruption]
    async with an_audited_shop(settings) as (shop, read_side, daemon):
        await some_orders(shop, 3, 5)
        await read_side.reached(len(shop.acknowledged))
        async with auditing(settings, read_side, daemon.runners) as audit:
            before = {view: audited(view) for view in corrupted}
            await audit.round()
            assert drift() == {}
            assert all(audited(view) > before[view] for view in corrupted)
            for corrupt, _ in corrupted.values():
                await corrupt(read_side)
            await rounds_until(audit, set(corrupted))
            # What is known is looked at again, so it does not come and go with the sample.
            for _ in range(3):
                await audit.round()
                assert drift().keys() == corrupted.keys()
            for view in corrupted:
                assert (await healed(settings, read_side, view)).left == 0
            await audit.round()
            assert drift() == {}


async def test_a_long_log_is_audited_a_stretch_each_round(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_module, "_POSITIONS_A_ROUND", 10)
    monkeypatch.setattr(audit_module, "_BATCH", 3)
    async with an_audited_shop(settings) as (shop, read_side, daemon):
        await some_orders(shop, 4, 5)
        await read_side.reached(len(shop.acknowledged))
        assert len(shop.acknowledged) > 20
        for view in ("member_profile", "sales_statistics"):
            await CORRUPTIONS["values"][view][0](read_side)
        async with auditing(settings, read_side, daemon.runners) as audit:
            await audit.round()
            assert drift() == {}
            await some_orders(shop, 5, 1)
            await rounds_until(audit, {"member_profile", "sales_statistics"})


async def test_the_warning_names_ids_and_fields_and_no_values(settings: Settings) -> None:
    async with an_audited_shop(settings) as (shop, read_side, daemon):
        order_id = await shop.place()
        await read_side.reached(len(shop.acknowledged))
        change = {"shipping_info.receiver.name": "Somebody Else"}
        await read_side.database[ORDER_DETAIL].update_one({"_id": order_id}, {"$set": change})
        with capture_logs() as logs:
            async with auditing(settings, read_side, daemon.runners) as audit:
                await rounds_until(audit, {"order_detail"})
                await audit.round()
        [told] = [one for one in logs if one["log_level"] == "warning"]
        assert (told["projection"], told["count"], told["ids"]) == ("order_detail", 1, [order_id])
        assert told["fields"] == ["shipping_info.receiver.name"]
        assert "Somebody" not in repr(logs)


async def test_what_is_known_to_differ_is_looked_at_again_each_round(settings: Settings) -> None:
    few = settings.model_copy(update={"audit_sample": 2})
    async with an_audited_shop(settings) as (shop, read_side, daemon):
        await some_orders(shop, 8, 12)
        await read_side.reached(len(shop.acknowledged))
        await CORRUPTIONS["values"]["order_detail"][0](read_side)
        async with auditing(few, read_side, daemon.runners) as audit:
            await rounds_until(audit, {"order_detail"})
            for _ in range(6):
                await audit.round()
                assert drift() == {"order_detail": 1}


async def test_what_is_parked_is_no_drift(settings: Settings) -> None:
    async with a_shop(settings.postgres_url or "") as shop, a_read_side(settings) as read_side:
        bad = await shop.place(("p-0", 1), ("p-1", 2))
        with pytest.MonkeyPatch.context() as broken:
            for view in VIEWS:
                poison(broken, view, OrderPlaced, bad)
            async with projecting(settings) as daemon:
                await shop.pay(bad)
                await some_orders(shop, 6, 3)
                await read_side.reached(len(shop.acknowledged))
                broken.undo()  # the folds are sound again, and what waits has not been retried
                async with auditing(settings, read_side, daemon.runners) as audit:
                    for _ in range(3):
                        await audit.round()
                        assert drift() == {}


async def test_a_standby_repeats_nothing(settings: Settings) -> None:
    async with an_audited_shop(settings) as (shop, read_side, _):
        await read_side.reached(len(shop.acknowledged))
        async with projecting(settings) as standby:
            await until(lambda: _all_stand_by(standby), "every projection stood by for")
            before = {view: audited(view) for view in all_views()}
            async with auditing(settings, read_side, standby.runners) as audit:
                await audit.round()
            assert {view: audited(view) for view in all_views()} == before


async def _all_stand_by(daemon: Daemon) -> bool:
    return [runner.state for runner in daemon.runners] == ["standby"] * len(all_views())


async def test_a_store_that_is_away_ends_the_round_and_nothing_else(settings: Settings) -> None:
    async with an_audited_shop(settings) as (shop, read_side, daemon):
        await read_side.reached(len(shop.acknowledged))
        away = settings.model_copy(update={"postgres_url": "postgresql://nobody@127.0.0.1:1/readside"})
        before = {view: audited(view) for view in all_views()}
        async with auditing(away, read_side, daemon.runners, Reconciliation(away)) as audit:
            await audit.round()
        assert {view: audited(view) for view in all_views()} == before


class _Differs(Reconciliation):
    """The orders cannot be read."""

    async def differences(self, database: Database, event_log: EventLog) -> Mapping[str, int]:
        return await Reconciliation(
            self._settings.model_copy(update={"postgres_url": "postgresql://nobody@127.0.0.1:1/readside"})
        ).differences(database, event_log)


async def test_totals_that_differ_are_a_metric(settings: Settings) -> None:
    def gauge(total: str) -> float | None:
        return REGISTRY.get_sample_value("readside_reconciliation_difference", {"total": total})

    async with an_audited_shop(settings) as (shop, read_side, daemon):
        await shop.place()
        await read_side.reached(len(shop.acknowledged))
        await read_side.database[SALES_STATISTICS].update_many(
            {"_id": {"$regex": "^month.none"}}, {"$inc": {"placed_orders": 2}}
        )
        async with auditing(settings, read_side, daemon.runners, Reconciliation(settings)) as audit:
            await audit.round()
        assert (gauge("placed_orders"), gauge("placed_amount")) == (2, 0)
        async with auditing(settings, read_side, daemon.runners, _Differs(settings)) as audit:
            await audit.round()  # the orders are away: what was known stays
        assert gauge("placed_orders") == 2
        async with auditing(settings, read_side, [], Reconciliation(settings)) as audit:
            await audit.round()
        assert gauge("placed_orders") is None


async def test_the_daemon_audits_by_itself(settings: Settings) -> None:
    often = settings.model_copy(update={"audit_seconds": 1})
    async with a_shop(settings.postgres_url or "") as shop, a_read_side(settings) as read_side, projecting(often):
        await some_orders(shop, 7, 3)
        await read_side.reached(len(shop.acknowledged))
        await CORRUPTIONS["values"]["order_detail"][0](read_side)

        async def is_found() -> bool:
            return drift().keys() == {"order_detail"}

        async def is_gone() -> bool:
            return drift() == {}

        await until(is_found, "the daemon to find it")
        assert (await healed(settings, read_side, "order_detail")).left == 0
        await until(is_gone, "the gauge to fall")
