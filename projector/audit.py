"""The audit: every minute a few random documents of every view are compared with what their events make of them.

Only the owner of a projection audits it, so standbys repeat nothing. What a document's own aggregate makes is read by
the aggregate's id. Documents that many aggregates make (members, products, statistics) have no such index: for them the
log is folded in laps, for the sampled documents alone, a bounded stretch each round.

What was found to differ is looked at again each round (or lap), so the gauge falls when it was healed. The audit is
nobody's guard: it reads little at a time, sleeps in between, and a store that is away ends its round, and nothing else.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from typing import Any, Protocol

import structlog
from pymongo.errors import PyMongoError

from eventstore import EventLog, Filter
from projector import metrics
from projector.differences import Difference
from projector.folding import WHOLE, Part
from projector.moments import InstanceGoneError, Moment, moment
from projector.refolding import MovedBackError, Refold
from projector.registry import Registry
from projector.runner import Runner
from projector.sampling import has_own_documents, sampled
from projector.scratch import Scratch
from projector.verification import differences_of
from runtime.errors import ReadsideError
from runtime.mongo import Database
from runtime.postgres import DRIVER_ERRORS
from runtime.settings import Settings
from views import all_views
from views.kit import AdditiveView, Calendar, View

log = structlog.get_logger()

_POSITIONS_A_ROUND = 20_000
# A few milliseconds of folding at a time: events that come meanwhile should not notice.
_BATCH, _PAUSE_SECONDS = 100, 0.02
_IDS_TOLD = 10
_NOTHING: dict[str, Any] = {"_id": {"$in": []}}
# Totals over all orders cost the more the more there are: they take at most two percent of the time.
_RECONCILED_AT_MOST = 1 / 50


class Reconcile(Protocol):
    """Compares totals of a view with those of the write side, which this room does not know."""

    @property
    def projection(self) -> str:
        """Which view's totals."""

    async def differences(self, database: Database, event_log: EventLog) -> Mapping[str, int]:
        """What the view has too much, by total. Raises `ReadsideError` where the two cannot be compared now."""


class _Only(Part, frozen=True):
    """These keys of a view's work."""

    keys: frozenset[str] = frozenset()

    def holds(self, key: str) -> bool:
        return key in self.keys


class _Lap:
    """The log folded for some documents, a stretch each round. `close` it."""

    def __init__(self, event_log: EventLog, view: View, calendar: Calendar, keys: Iterable[Any]) -> None:
        self.keys = list(keys)
        ids = frozenset(key for key in self.keys if isinstance(key, str))
        # Counters are summed by bucket, and only then by document: there the scratch does the choosing.
        part = WHOLE if isinstance(view, AdditiveView) else _Only(0, 2, ids)
        self.refold = Refold(event_log, view, calendar, Scratch(ids), part=part)

    def expected(self) -> Iterable[tuple[str, dict[str, Any]]]:
        """What the events make."""
        return self.refold.scratch.between(None, None)

    def close(self) -> None:
        """Let the fold go."""
        self.refold.scratch.close()


class _Watched:
    """What is known of one instance."""

    def __init__(self, instance: str) -> None:
        self.instance = instance
        self.drifting: set[Any] = set()
        self.lap: _Lap | None = None

    def end_lap(self) -> None:
        """The next one begins with other documents."""
        if self.lap is not None:
            self.lap.close()
        self.lap = None


class Audit:
    """The audit of one process. ``runners``: those that it has now."""

    def __init__(
        self,
        database: Database,
        event_log: EventLog,
        settings: Settings,
        runners: Callable[[], Sequence[Runner]],
        reconcile: Reconcile | None = None,
    ) -> None:
        self._database = database
        self._log = event_log
        self._size = settings.audit_sample
        self._calendar = Calendar(settings.zone)
        self._runners = runners
        self._reconcile = reconcile
        self._registry = Registry(database)
        self._views = all_views()
        self._watched: dict[str, _Watched] = {}
        self._reconciled_next = 0.0

    async def round(self) -> None:
        """Look once at what this process owns. A store that is away ends the round."""
        try:
            owned = await self._owned()
            for name in self._watched.keys() - owned.keys():
                self._rest(name)
            for name, instance in owned.items():
                await self._look_at(self._views[name], instance)
            if self._reconcile is not None and self._reconcile.projection in owned:
                await self._compare_totals(self._reconcile)
            else:
                metrics.RECONCILED.clear()  # whoever owns it now tells
                self._reconciled_next = 0.0
        except (PyMongoError, *DRIVER_ERRORS) as error:
            log.debug("no audit", error=f"{type(error).__name__}: {error}"[:300])

    def close(self) -> None:
        """Let everything go."""
        for name in self._watched:
            self._rest(name)

    async def _owned(self) -> dict[str, str]:
        entries = await self._registry.entries()
        return {
            runner.name: runner.instance
            for runner in self._runners()
            if runner.state == "active" and runner.name in entries and entries[runner.name].active == runner.instance
        }

    def _rest(self, name: str) -> None:
        # What differs is remembered: an owner stands by for a moment whenever something was healed.
        self._watched[name].end_lap()
        metrics.DRIFT.labels(name).set(0)  # whoever owns it now tells

    async def _look_at(self, view: View, instance: str) -> None:
        watched = self._watched.get(view.name)
        if watched is None or watched.instance != instance:
            if watched is not None:
                watched.end_lap()
            watched = self._watched[view.name] = _Watched(instance)
            metrics.DRIFT.labels(view.name).set(0)
        try:
            if has_own_documents(view):
                await self._look_by_aggregate(view, watched)
            else:
                await self._look_by_lap(view, watched)
        except (InstanceGoneError, MovedBackError) as error:
            watched.end_lap()
            log.debug("audit begun again", projection=view.name, error=str(error))

    async def _chosen(self, view: View, watched: _Watched) -> set[Any]:
        now = await moment(self._database, view, watched.instance, _NOTHING)
        chosen = await sampled(
            self._database,
            self._log,
            view,
            watched.instance,
            self._calendar,
            position=now.position,
            size=self._size,
        )
        return chosen | watched.drifting

    async def _look_by_aggregate(self, view: View, watched: _Watched) -> None:
        keys = await self._chosen(view, watched)
        seen = await moment(self._database, view, watched.instance, {"_id": {"$in": list(keys)}})
        with closing(_Lap(self._log, view, self._calendar, keys)) as lap:
            for key in keys:
                if isinstance(key, str):
                    await self._fold_aggregate(lap.refold, key, seen)
            self._tell(view, watched, keys, differences_of(view, seen, lap.expected()))

    async def _fold_aggregate(self, refold: Refold, aggregate_id: str, seen: Moment) -> None:
        after, only = 0, Filter(aggregate_id=aggregate_id)
        while after < seen.position and (stored := await self._log.get(after, _BATCH, only)):
            await refold.add([one for one in stored if one.position <= seen.position], seen.skipped)
            after = stored[-1].position
            await asyncio.sleep(0)

    async def _look_by_lap(self, view: View, watched: _Watched) -> None:
        if watched.lap is None:
            watched.lap = _Lap(self._log, view, self._calendar, await self._chosen(view, watched))
        lap, refold = watched.lap, watched.lap.refold
        now = await moment(self._database, view, watched.instance, _NOTHING)
        until = min(now.position, refold.position + _POSITIONS_A_ROUND)
        await refold.advance(until, now.skipped, batch=_BATCH, pause_seconds=_PAUSE_SECONDS)
        if until < now.position:
            return  # the rest in the next rounds
        seen = await moment(self._database, view, watched.instance, {"_id": {"$in": lap.keys}})
        if seen.position > until + _POSITIONS_A_ROUND:
            return
        await refold.advance(seen.position, seen.skipped, batch=_BATCH, pause_seconds=_PAUSE_SECONDS)
        self._tell(view, watched, lap.keys, differences_of(view, seen, lap.expected()))
        watched.end_lap()

    def _tell(self, view: View, watched: _Watched, looked_at: Iterable[Any], differences: Iterable[Difference]) -> None:
        wrong = {difference.key: difference for difference in differences}
        new, mended = wrong.keys() - watched.drifting, watched.drifting - wrong.keys()
        watched.drifting = set(wrong)
        metrics.AUDITED.labels(view.name).inc(len(list(looked_at)))
        metrics.DRIFT.labels(view.name).set(len(wrong))
        if new:
            # Ids and names of fields, and no values: those may be anybody's address.
            fields = sorted({path for key in new for path in wrong[key].paths})
            told = sorted(str(key) for key in new)[:_IDS_TOLD]
            log.warning(
                "documents differ from the log: see `readside projections verify`",
                projection=view.name,
                count=len(new),
                ids=told,
                fields=fields[:_IDS_TOLD],
            )
        if mended:
            log.info("documents agree with the log again", projection=view.name, count=len(mended))

    async def _compare_totals(self, reconcile: Reconcile) -> None:
        if time.monotonic() < self._reconciled_next:
            return
        started = time.monotonic()
        with suppress(ReadsideError):
            for total, difference in (await reconcile.differences(self._database, self._log)).items():
                metrics.RECONCILED.labels(total).set(difference)
                if difference:
                    log.warning("statistics differ from the orders", total=total, difference=difference)
        ended = time.monotonic()
        self._reconciled_next = ended + (ended - started) / _RECONCILED_AT_MOST
