"""What a killed `readside up` may have left running on a data directory.

The kernel tells its children to end when it dies; this is for those that are still at it, or were never told.
"""

import asyncio
import signal
import time
from pathlib import Path

import psutil

from readside import run_file
from readside.programs import family_of, kill

_PATIENCE_SECONDS = 10.0


async def end_orphans(data_dir: Path) -> list[str]:
    """End them, databases with a clean shutdown, and return their names. Call it holding the directory's lock."""
    found = _orphans(data_dir)
    for name, process in found.items():
        _ask_to_end(process, signal.SIGINT if name == "postgres" else signal.SIGTERM)
    _, stubborn = await asyncio.to_thread(psutil.wait_procs, list(found.values()), _PATIENCE_SECONDS)
    kill([member for process in stubborn for member in family_of(process.pid)])
    await _forget_the_dead(data_dir / "postgres")
    run_file.remove(data_dir)
    return sorted(found)


def _orphans(data_dir: Path) -> dict[str, psutil.Process]:
    found: dict[str, psutil.Process] = {}
    if run := run_file.read(data_dir):
        found = {name: process for name, child in run.children.items() if (process := child.process())}
    for name, pid_file in (("postgres", "postgres/postmaster.pid"), ("mongod", "mongo/mongod.lock")):
        if process := _holder(data_dir / pid_file):
            found[name] = process
    return found


def _holder(pid_file: Path) -> psutil.Process | None:
    """The process a pid file names, if its command line shows that it works on this folder."""
    try:
        process = psutil.Process(int(pid_file.read_text().split()[0]))
        is_ours = any(str(pid_file.parent) in argument for argument in process.cmdline())
    except (OSError, ValueError, IndexError, psutil.Error):
        return None
    return process if is_ours else None


async def _forget_the_dead(cluster: Path) -> None:
    """Remove the pid file of a postmaster that is dead, but that process 1 has not collected (yet).

    PostgreSQL takes such a zombie for a living postmaster and would not start. The file is also what keeps a second
    postmaster away while a dead one's backends still write: it may go only once nobody works in the folder.
    """
    pid_file = cluster / "postmaster.pid"
    if not _is_zombie(pid_file):
        return
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while _works_in(cluster):
        if time.monotonic() > deadline:
            return  # PostgreSQL will say whom it waits for
        await asyncio.sleep(0.05)
    pid_file.unlink(missing_ok=True)


def _is_zombie(pid_file: Path) -> bool:
    try:
        return psutil.Process(int(pid_file.read_text().split()[0])).status() == psutil.STATUS_ZOMBIE
    except (OSError, ValueError, IndexError, psutil.Error):
        return False


def _works_in(folder: Path) -> bool:
    return any(process.info["cwd"] == str(folder.resolve()) for process in psutil.process_iter(["cwd"]))


def _ask_to_end(process: psutil.Process, asked: signal.Signals) -> None:
    try:
        process.send_signal(asked)
    except psutil.Error:
        return
