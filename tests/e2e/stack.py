"""A real ``readside up``, as a person starts it, for tests that start, kill and end things."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil

from readside import run_file
from readside.programs import is_alive
from readside.run_file import Run, Running

READSIDE = (sys.executable, str(Path(sys.executable).with_name("readside")))
_PATIENCE_SECONDS = 60.0
_LAST_LINE = "Ctrl-C ends everything"


class Stack:
    """One ``readside up`` on a data directory, on free ports."""

    def __init__(self, data_dir: Path, *options: str, environment: dict[str, str] | None = None) -> None:
        self.data_dir = data_dir
        self._output = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by __exit__
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by __exit__
        ports = ("--command-port", "0", "--query-port", "0", "--projector-port", "0", "--console-port", "0")
        self.process = subprocess.Popen(
            [*READSIDE, "up", "--data-dir", str(data_dir), *ports, *options],
            stdout=self._output,
            stderr=self._errors,
            env=os.environ | (environment or {}),
            cwd=data_dir.parent,
        )

    def until_ready(self) -> Run:
        """Wait for the printed block, and return what runs."""
        wait_for(lambda: _LAST_LINE in self.printed() or self.process.poll() is not None, "the printed block")
        assert self.process.poll() is None, f"ended early:\n{self.log()}"
        return self.run()

    def run(self) -> Run:
        """What the run file says now."""
        run = run_file.read_living(self.data_dir)
        assert run is not None
        return run

    def printed(self) -> str:
        """Standard output so far."""
        return _text(self._output)

    def log(self) -> str:
        """Standard error so far."""
        return _text(self._errors)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it with a signal, and return its exit status."""
        self.process.send_signal(number)
        return self.process.wait(_PATIENCE_SECONDS)

    def __enter__(self) -> "Stack":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.end()
        self._output.close()
        self._errors.close()


def family(run: Run) -> list[psutil.Process]:
    """Every process of a run: the supervisor, its children, and theirs."""
    supervisor = run.supervisor.process()
    assert supervisor is not None
    return [supervisor, *supervisor.children(recursive=True)]


def alive(processes: list[psutil.Process]) -> list[str]:
    """Command lines of those that still live."""
    return [_described(one) for one in processes if is_alive(one)]


def is_ready(port: int) -> bool:
    """Whether /readyz on this port says so."""
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def is_restarted(stack: Stack, name: str, before: Running) -> bool:
    """Whether another process than before runs under this name."""
    now = stack.run().children[name]
    return now != before and now.process() is not None


def wait_for(reached: Callable[[], bool], what: str) -> None:
    """Look every 50 ms. Fails the test when it takes too long."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not reached():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.05)


def _text(file: object) -> str:
    # By descriptor: the child shares the offset of ours, and seeking would move it.
    descriptor = file.fileno()  # type: ignore[attr-defined]
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0).decode(errors="replace")


def _described(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return str(process)
