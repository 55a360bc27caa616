"""Keeps children running until told to end them.

A child that dies is started again, with a backoff; the log says so. The only exceptions concern children that have
never been ready: one that ends with status 2, which is how Readside's processes say that they were told something
impossible, and a database that fails three times. Starting those again would only say the same thing again.
"""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from typing import Any

from readside.embedded.reasons import why
from readside.errors import StartError
from readside.programs import Program, end, family_of, kill, pass_lines_on, spawn
from readside.restarts import Backoff
from readside.run_file import Running

type_of_log = Callable[[str, str], None]
IMPOSSIBLE = 2
PATIENCE_SECONDS = 20.0
# A database killed a moment ago may still hold its files when the first attempt is made.
DATABASE_ATTEMPTS = 3


class Child:
    """One program that is kept running."""

    def __init__(self, program: Program, log: type_of_log, on_start: Callable[[], None]) -> None:
        self.program = program
        self.running: Running | None = None
        self.ready = False
        self.failed: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        """Done, with the exit status, once it is clear that starting again would not help."""
        self._attempts = 0
        self._process: asyncio.subprocess.Process | None = None
        self._ending = False
        self._log = log
        self._on_start = on_start
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start it, and go on doing so."""
        self._task = asyncio.create_task(self._keep_running())

    async def until_ready(self, readiness: Awaitable[None]) -> None:
        """Wait for ``readiness``. Raises `StartError` once it is clear that it will never come."""
        waiting = asyncio.ensure_future(readiness)
        either: set[asyncio.Future[Any]] = {waiting, self.failed}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if self.failed.done():
                raise StartError(self._sentence(), last_lines(self.program))
            await waiting
            self.ready = True
        finally:
            waiting.cancel()

    def _sentence(self) -> str:
        status, log_file = self.failed.result(), self.program.log_file
        if log_file is None:
            return f"{self.program.name} cannot start ({describe(status)}); its last lines above say why"
        explained = why(status, last_lines(self.program))
        return f"{self.program.name} cannot start: {explained or describe(status)}; see {log_file}"

    async def end(self) -> None:
        """End it for good."""
        self._ending = True
        if self._process is not None:
            await end(self._process, self.program.stop_signal, PATIENCE_SECONDS)
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def kill(self) -> None:
        """End it at once, whatever it is doing."""
        self._ending = True
        if self._process is not None:
            kill(family_of(self._process.pid))

    async def _keep_running(self) -> None:
        backoff = Backoff()
        while not self._ending:
            started = time.monotonic()
            status = await self._run_once()
            if self._ending or self._gives_up(status):
                return
            delay = backoff.delay_after(time.monotonic() - started)
            self._log(self.program.name, f"ended ({describe(status)}); starting it again in {delay:g} s")
            await asyncio.sleep(delay)

    async def _run_once(self) -> int:
        self._process = process = await spawn(self.program)
        self.running = Running.of(process.pid)
        self._on_start()
        lines = asyncio.create_task(pass_lines_on(process, lambda line: self._log(self.program.name, line)))
        try:
            status = await process.wait()
            await asyncio.wait([lines], timeout=1)  # its last words, without waiting for what it left behind
        finally:
            lines.cancel()
        return status

    def _gives_up(self, status: int) -> bool:
        self._attempts += 1
        is_database = self.program.log_file is not None
        hopeless = self._attempts >= DATABASE_ATTEMPTS if is_database else status == IMPOSSIBLE
        if self.ready or not hopeless:
            return False
        self.failed.set_result(status)
        return True


class Supervisor:
    """Children in the order in which they were started, ended phase by phase in the opposite order."""

    def __init__(self, log: type_of_log, on_start: Callable[[], None]) -> None:
        self._phases: list[list[Child]] = []
        self._log = log
        self._on_start = on_start

    def begin_phase(self) -> list[Child]:
        """What is started from here on may rely on what was started before, and is ended before it."""
        self._phases.append([])
        return self._phases[-1]

    def start(self, program: Program, phase: list[Child] | None = None) -> Child:
        """Start a program in the current phase, or in an earlier one: late, and ended as if it had been there."""
        child = Child(program, self._log, self._on_start)
        (self._phases[-1] if phase is None else phase).append(child)
        child.start()
        return child

    @property
    def running(self) -> dict[str, Running]:
        """Every child by its name."""
        children = [child for phase in self._phases for child in phase]
        return {child.program.name: child.running for child in children if child.running is not None}

    async def end(self) -> None:
        """End everything, the last phase first."""
        for phase in reversed(self._phases):
            await asyncio.gather(*(child.end() for child in phase))

    def kill(self) -> None:
        """End everything at once."""
        for phase in self._phases:
            for child in phase:
                child.kill()


def describe(status: int) -> str:
    """An exit status as a person would say it."""
    return f"killed by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"


def last_lines(program: Program, count: int = 15) -> str:
    """The end of a program's log file."""
    if program.log_file is None or not program.log_file.exists():
        return ""
    return "\n".join(program.log_file.read_text(errors="replace").splitlines()[-count:])
