"""What the daemon counts; names and units by Prometheus' conventions.

What happens is counted where it happens. What *is* (positions, lag, epochs) is asked for at the moment of the scrape:
a gauge that is set by a write goes on saying that all is well when nothing is written any more.
"""

from bisect import bisect_left
from collections import Counter as Occurrences
from collections.abc import Callable, Iterable
from datetime import datetime

import msgspec
from prometheus_client import REGISTRY, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

SEQUENCED = Counter("readside_events_sequenced_total", "Events moved from the outbox to the log")
HEAD = Gauge("readside_log_head_position", "Position of the last event in the log")
SEQUENCER_AGE = Gauge(
    "readside_sequencer_since_run_seconds",
    "For how long the sequencer has not run to its end; it does so each second",
)
APPLIED = Counter("readside_projection_events_total", "Events that a projection has gone past", ["projection"])
RETRIES = Counter("readside_projection_retries_total", "Batches given up and begun again", ["projection", "reason"])
UNKNOWN = Counter("readside_events_unknown_total", "Events of a type that this version does not know", ["event_type"])
BATCH = Histogram(
    "readside_projection_batch_events",
    "Events in one transaction of a projection",
    ["projection"],
    buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000),
)
DRIFT = Gauge(
    "readside_drift_documents",
    "Documents that the sampling audit found to differ from the log, and that still did when it last looked",
    ["projection"],
)
AUDITED = Counter("readside_audited_documents_total", "Documents that the sampling audit has compared", ["projection"])
RECONCILED = Gauge(
    "readside_reconciliation_difference",
    "What a total of the sales statistics is above the same total by SQL over the orders",
    ["total"],
)

_VISIBLE_WITHIN = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 60.0, 600.0)


class CommitToVisible(Collector):
    """From each event's recording in Postgres to its effect in a view.

    A batch of thousands is counted in one go: `Histogram.observe` for each event costs more than folding it.
    """

    def __init__(self) -> None:
        self._counts: dict[str, list[int]] = {}
        self._sums: dict[str, float] = {}

    def observe(self, projection: str, recorded: Iterable[datetime], visible_at: datetime) -> None:
        """These events, recorded at those times, are visible since then."""
        seen = visible_at.timestamp()
        counts = self._counts.setdefault(projection, [0] * (len(_VISIBLE_WITHIN) + 1))
        total = self._sums.get(projection, 0.0)
        # What one transaction recorded has one time.
        for at, events in Occurrences(recorded).items():
            # Clocks of two machines may disagree; an age below zero would break the sum's promise never to fall.
            age = max(0.0, seen - at.timestamp())
            counts[bisect_left(_VISIBLE_WITHIN, age)] += events
            total += age * events
        self._sums[projection] = total

    def collect(self) -> Iterable[Metric]:
        """One histogram, a series for each projection."""
        family = HistogramMetricFamily(
            "readside_commit_to_visible_seconds",
            "From an event's recording in Postgres to its effect in a view",
            labels=["projection"],
        )
        for projection, counts in self._counts.items():
            cumulated, buckets = 0, []
            for bound, count in zip([*map(str, _VISIBLE_WITHIN), "+Inf"], counts, strict=True):
                cumulated += count
                buckets.append((bound, cumulated))
            family.add_metric([projection], buckets, self._sums[projection])
        yield family


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """Where one projection stands at this moment, as this process sees it."""

    projection: str
    position: int
    lag_events: int
    lag_seconds: float
    parked_sequences: int
    epoch: int
    health: str


class Standings(Collector):
    """Where the projections of this process stand; `source` is asked at every scrape."""

    def __init__(self) -> None:
        self.source: Callable[[], Iterable[Standing]] = tuple

    def collect(self) -> Iterable[Metric]:
        """A gauge for each thing that can be said of a projection."""

        def gauge(name: str, text: str, *more: str) -> GaugeMetricFamily:
            return GaugeMetricFamily(f"readside_projection_{name}", text, labels=["projection", *more])

        position = gauge("position", "Position up to which a projection has come")
        events = gauge("lag_events", "Events in the log that a projection has not applied")
        seconds = gauge("lag_seconds", "For how long the first of them has waited")
        parked = gauge("parked_sequences", "Aggregates that wait as dead letters")
        epoch = gauge("epoch", "Epoch of this process as the projection's owner; 0 where it never was")
        health = gauge("health", "1 for what the projection is now", "health")
        for one in self.source():
            label = [one.projection]
            position.add_metric(label, one.position)
            events.add_metric(label, one.lag_events)
            seconds.add_metric(label, one.lag_seconds)
            parked.add_metric(label, one.parked_sequences)
            epoch.add_metric(label, one.epoch)
            health.add_metric([one.projection, one.health], 1)
        yield from (position, events, seconds, parked, epoch, health)


VISIBLE = CommitToVisible()
STANDINGS = Standings()
REGISTRY.register(VISIBLE)
REGISTRY.register(STANDINGS)
