"""What is due by the clock, as ``/metrics`` tells of it: each thing on the schedule, how often it is due, and for how
long it has not been done. A schedule that has died fails nothing: what it no longer does is missed days later.
"""

import time
from collections.abc import Iterable

from apscheduler.events import EVENT_JOB_EXECUTED, JobExecutionEvent
from apscheduler.schedulers.base import BaseScheduler
from prometheus_client import REGISTRY, Counter
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

FAILED = Counter(
    "readside_schedule_failures_total", "Runs of something on the schedule that failed by our own fault", ["schedule"]
)


class ScheduleMetrics(Collector):
    """What stands on this process's schedule."""

    def __init__(self) -> None:
        self._scheduler: BaseScheduler | None = None
        self._done_at: dict[str, float] = {}
        self._seen_at: dict[str, float] = {}

    def watch(self, scheduler: BaseScheduler) -> None:
        """Tell of this one from now on."""
        self._scheduler, self._done_at, self._seen_at = scheduler, {}, {}
        scheduler.add_listener(self._note_done, EVENT_JOB_EXECUTED)

    def collect(self) -> Iterable[Metric]:
        """Seconds, one of each for each thing; until it is done for the first time, since it was first looked at."""
        since = GaugeMetricFamily(
            "readside_schedule_since_run_seconds", "For how long it has not been run to its end", labels=["schedule"]
        )
        interval = GaugeMetricFamily("readside_schedule_interval_seconds", "How often it is due", labels=["schedule"])
        now = time.monotonic()
        for job in self._scheduler.get_jobs() if self._scheduler else ():
            last = self._done_at.get(job.id) or self._seen_at.setdefault(job.id, now)
            since.add_metric([job.id], now - last)
            interval.add_metric([job.id], job.trigger.interval.total_seconds())
        yield from (since, interval)

    def _note_done(self, event: JobExecutionEvent) -> None:
        self._done_at[event.job_id] = time.monotonic()


SCHEDULE = ScheduleMetrics()
REGISTRY.register(SCHEDULE)
