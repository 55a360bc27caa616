"""What is due by the clock: the jobs of the write side, on the daemon's schedule."""

import asyncio
from collections.abc import Iterable

import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from events.reaction import Job, NotNow, Ports
from projector.schedule_metrics import FAILED
from projector.supervised import ended

log = structlog.get_logger()


class Jobs:
    """Runs each at its interval, never twice at the same time; a failure is logged, and the next run comes."""

    def __init__(self, jobs: Iterable[Job], ports: Ports) -> None:
        self._jobs = tuple(jobs)
        self._ports = ports
        self._running: set[asyncio.Task[None]] = set()

    def schedule(self, scheduler: AsyncIOScheduler) -> None:
        """Put them on the schedule."""
        for job in self._jobs:
            FAILED.labels(_id(job))  # so that it begins at 0, and the first failure is an increase
            # Late is better than not at all, which is what the scheduler does with a job that is a second late.
            scheduler.add_job(
                self._run, "interval", [job], seconds=job.every_seconds, id=_id(job), misfire_grace_time=None
            )

    async def end(self, scheduler: AsyncIOScheduler) -> None:
        """Take them off again, and end those that run."""
        for job in self._jobs:
            if scheduler.get_job(_id(job)) is not None:
                scheduler.remove_job(_id(job))
        await ended(*self._running)

    async def _run(self, job: Job) -> None:
        task = asyncio.create_task(self._once(job), name=_id(job))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        try:
            await task
        except asyncio.CancelledError:
            log.debug("job not done: ending", job=job.name)  # the scheduler would log its own cancelling as a crash

    async def _once(self, job: Job) -> None:
        try:
            await job.run(self._ports)
        except NotNow as away:
            log.debug("job not done now", job=job.name, reason=str(away))
        except Exception:
            FAILED.labels(_id(job)).inc()
            log.exception("job failed", job=job.name)


def _id(job: Job) -> str:
    return f"job {job.name}"
