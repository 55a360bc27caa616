"""Children are started again, ended in order, and given up only where starting again is pointless."""

import asyncio
import signal
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from readside.errors import StartError
from readside.programs import Program, is_alive
from readside.supervisor import Supervisor


class Lines(list[str]):
    """The log, as a list."""

    def __call__(self, name: str, line: str) -> None:
        self.append(f"{name}: {line}")


@pytest.fixture
def lines() -> Lines:
    return Lines()


@pytest.fixture
async def supervisor(lines: Lines) -> AsyncIterator[Supervisor]:
    supervisor = Supervisor(lines, on_start=lambda: None)
    supervisor.begin_phase()
    yield supervisor
    await supervisor.end()


def python(name: str, code: str, *, log_file: Path | None = None) -> Program:
    return Program(name, (sys.executable, "-u", "-c", code), log_file=log_file)


async def until(lines: Lines, line: str) -> None:
    async with asyncio.timeout(10):
        while line not in lines:  # noqa: ASYNC110 - written by another process
            await asyncio.sleep(0.01)


async def never() -> None:
    await asyncio.Event().wait()


SLEEP = "import time; print('awake'); time.sleep(60)"


async def test_every_line_is_passed_on_with_its_name(supervisor: Supervisor, lines: Lines) -> None:
    supervisor.start(python("talker", f"print('one\\ntwo'); {SLEEP}"))
    await until(lines, "talker: awake")
    assert lines == ["talker: one", "talker: two", "talker: awake"]


async def test_a_line_longer_than_the_limit_stops_nothing(supervisor: Supervisor, lines: Lines) -> None:
    supervisor.start(python("talker", f"print('x' * 3_000_000); {SLEEP}"))
    await until(lines, "talker: awake")


async def test_a_child_that_dies_is_started_again(supervisor: Supervisor, lines: Lines) -> None:
    supervisor.start(python("mortal", "print('born'); raise SystemExit(7)"))
    await until(lines, "mortal: ended (exit status 7); starting it again in 0.4 s")
    assert lines.count("mortal: born") == 2


async def test_a_child_told_something_impossible_is_not_started_again(supervisor: Supervisor) -> None:
    child = supervisor.start(python("stubborn", "raise SystemExit(2)"))
    with pytest.raises(StartError, match=r"stubborn cannot start \(exit status 2\)"):
        await child.until_ready(never())


async def test_a_database_that_cannot_start_is_given_up_with_its_last_lines(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    log_file = tmp_path / "broken.log"
    child = supervisor.start(python("broken", "print('disk full'); raise SystemExit(1)", log_file=log_file))
    with pytest.raises(StartError, match=f"broken cannot start: exit status 1; see {log_file}") as caught:
        await child.until_ready(never())
    assert caught.value.details == "\n".join(["disk full"] * 3)


async def test_a_missing_library_is_named_with_its_package(supervisor: Supervisor, tmp_path: Path) -> None:
    words = "mongod: error while loading shared libraries: libcurl.so.4: cannot open shared object file"
    code = f"print({words!r}); raise SystemExit(127)"
    child = supervisor.start(python("mongod", code, log_file=tmp_path / "mongod.log"))
    with pytest.raises(StartError, match=r"it needs libcurl.so.4 \(apt-get install libcurl4\)"):
        await child.until_ready(never())


async def test_later_phases_end_before_earlier_ones(supervisor: Supervisor, lines: Lines) -> None:
    code = """import signal, sys, time
def bye(*_): print('bye'); sys.exit()
signal.signal(signal.SIGTERM, bye)
print('awake'); time.sleep(60)"""
    supervisor.start(python("first", code))
    supervisor.begin_phase()
    supervisor.start(python("second", code))
    await until(lines, "first: awake")
    await until(lines, "second: awake")
    await supervisor.end()
    assert lines[2:] == ["second: bye", "first: bye"]


async def test_what_is_started_late_in_an_earlier_phase_ends_with_that_phase(
    supervisor: Supervisor, lines: Lines
) -> None:
    code = """import signal, sys, time
def bye(*_): print('bye'); sys.exit()
signal.signal(signal.SIGTERM, bye)
print('awake'); time.sleep(60)"""
    earlier = supervisor.begin_phase()
    supervisor.begin_phase()
    supervisor.start(python("second", code))
    supervisor.start(python("late", code), earlier)
    await until(lines, "second: awake")
    await until(lines, "late: awake")
    await supervisor.end()
    assert lines[2:] == ["second: bye", "late: bye"]


async def test_a_child_is_given_the_sockets_that_are_meant_for_it(supervisor: Supervisor, lines: Lines) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        descriptor, port = listening.fileno(), listening.getsockname()[1]
        code = f"import socket; print(socket.socket(fileno={descriptor}).getsockname()[1]); {SLEEP}"
        supervisor.start(replace(python("heir", code), sockets=(descriptor,)))
        await until(lines, "heir: awake")
    assert lines[0] == f"heir: {port}"


async def test_nothing_is_started_again_after_the_end(supervisor: Supervisor, lines: Lines) -> None:
    child = supervisor.start(python("mortal", SLEEP))
    await until(lines, "mortal: awake")
    await child.end()
    running = supervisor.running["mortal"]
    assert running.process() is None
    assert lines == ["mortal: awake"]


async def test_grandchildren_end_too(supervisor: Supervisor, lines: Lines) -> None:
    code = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-uc', {SLEEP!r}]); time.sleep(60)"
    child = supervisor.start(python("parent", code))
    await until(lines, "parent: awake")
    process = supervisor.running["parent"].process()
    assert process is not None
    family = process.children(recursive=True)
    assert len(family) == 1
    await child.end()
    assert not any(is_alive(one) for one in family)


async def test_a_child_does_not_hear_the_terminals_interrupt(supervisor: Supervisor, lines: Lines) -> None:
    supervisor.start(python("child", "import os; print(os.getpgid(0) == os.getpid()); " + SLEEP))
    await until(lines, "child: awake")
    assert lines[0] == "child: True"


@pytest.mark.skipif(sys.platform != "linux", reason="the parent-death signal is Linux's")
async def test_a_child_is_told_when_the_supervisor_is_killed(supervisor: Supervisor, lines: Lines) -> None:
    code = "import ctypes; n = ctypes.c_int(); ctypes.CDLL(None).prctl(2, ctypes.byref(n)); print(n.value); " + SLEEP
    supervisor.start(python("child", code))
    await until(lines, "child: awake")
    assert lines[0] == f"child: {signal.SIGTERM.value}"
