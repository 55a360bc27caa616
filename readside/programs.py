"""Programs that run as children: started in a session of their own, ended to the last grandchild.

In a session of its own a child does not see the terminal's Ctrl-C: the supervisor decides who ends when. Where the
supervisor itself is killed, the kernel sends every child its stop signal (``setpriv --pdeathsig``, on Linux).
"""

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

type_of_sink = Callable[[str], None]
_LONGEST_LINE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Program:
    """What to run. Output goes line by line to the supervisor's log, or to ``log_file``."""

    name: str
    argv: tuple[str, ...]
    stop_signal: signal.Signals = signal.SIGTERM
    environment: Mapping[str, str] | None = None
    account: tuple[str, ...] = ()
    """Arguments of setpriv for running it as another user."""
    log_file: Path | None = None
    folder: Path | None = None
    sockets: tuple[int, ...] = ()
    """Descriptors that it is given, under the same numbers."""


async def spawn(program: Program) -> asyncio.subprocess.Process:
    """Start it. Raises `OSError` where it cannot be executed."""
    output: int = asyncio.subprocess.PIPE
    if program.log_file is not None:
        output = os.open(program.log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        return await asyncio.create_subprocess_exec(
            *_with_setpriv(program),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(program.environment) if program.environment is not None else None,
            cwd=program.folder,
            limit=_LONGEST_LINE_BYTES,
            pass_fds=program.sockets,
            start_new_session=True,
        )
    finally:
        if program.log_file is not None:
            os.close(output)


def _with_setpriv(program: Program) -> Sequence[str]:
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        return program.argv
    # setpriv sets the death signal after the user: the kernel forgets it when the user changes.
    return (setpriv, "--pdeathsig", program.stop_signal.name, *program.account, *program.argv)


async def pass_lines_on(process: asyncio.subprocess.Process, sink: type_of_sink) -> None:
    """Hand every line to the sink until the child, and all who inherited its output, have closed it."""
    if process.stdout is None:
        return
    while True:
        try:
            line = await process.stdout.readline()
        except ValueError:  # a line longer than the limit: its rest follows as a line of its own
            continue
        if not line:
            return
        sink(line.decode(errors="replace").rstrip())


async def end(process: asyncio.subprocess.Process, stop_signal: signal.Signals, patience_seconds: float) -> None:
    """Ask it to end, then insist. Afterwards neither the process nor anything that it started is alive."""
    family = family_of(process.pid)
    if process.returncode is None:
        process.send_signal(stop_signal)
    try:
        await asyncio.wait_for(asyncio.shield(process.wait()), patience_seconds)
    except TimeoutError:
        kill(family)
        await process.wait()
    kill(family)
    while any(is_alive(member) for member in family):  # noqa: ASYNC110 - killed, but dying takes a moment
        await asyncio.sleep(0.01)


def family_of(pid: int) -> list[psutil.Process]:
    """The process and its descendants, children first."""
    try:
        parent = psutil.Process(pid)
        return [*reversed(parent.children(recursive=True)), parent]
    except psutil.Error:
        return []


def is_alive(process: psutil.Process) -> bool:
    """Whether it still runs. One that has ended, and that nobody has collected yet, does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def kill(processes: Sequence[psutil.Process]) -> None:
    """Kill those that still live; psutil compares start times, so an id that was given away is safe."""
    for process in processes:
        try:
            process.kill()
        except psutil.Error:
            continue
