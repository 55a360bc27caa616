"""kill -9 of whoever writes a file of JSON lines: what was acknowledged is there, whole and once."""

import json
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from events.ordering import DeliveryStarted
from tests.unit.views.given import an_envelope

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SEED = 20_270_412
EVENTS = 60_000
ROUNDS = 10
READY_SECONDS = 60


class Writer:
    """A writer in a process of its own, and what it says was acknowledged."""

    def __init__(self, file: Path, first: int, last: int) -> None:
        command = [sys.executable, "-m", "tests.crash.line_writer", str(file), str(first), str(last)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.acknowledged: list[int] = []
        self.has_begun = threading.Event()
        self._reading = threading.Thread(target=self._read)
        self._reading.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for said in self.process.stdout:
            if said.endswith("\n"):  # a number that was cut off was not said
                self.acknowledged.append(int(said))
                self.has_begun.set()

    def end(self, *, kill: bool) -> int:
        """Its exit status."""
        if kill:
            self.process.kill()
        status = self.process.wait(READY_SECONDS * 4)
        self._reading.join()
        assert self.process.stdout is not None
        self.process.stdout.close()
        return status


def next_of(acknowledged: set[int]) -> int:
    """Where a checkpoint would stand: behind the last event up to which all were acknowledged."""
    number = 1
    while number in acknowledged:
        number += 1
    return number


def found_in(file: Path) -> list[str]:
    """The ids of the lines; every line is whole."""
    content = file.read_bytes()
    assert content.endswith(b"\n")
    return [json.loads(line)["event_id"] for line in content.splitlines()]


def id_of(number: int) -> str:
    """That of the event with this number."""
    return an_envelope(DeliveryStarted(), position=number).event_id


@pytest.mark.parametrize("writers", [1, 2])
def test_a_writer_that_is_killed_again_and_again_loses_no_line_leaves_none_torn_and_tells_none_twice(
    tmp_path: Path, writers: int
) -> None:
    """Two: the owner was thought dead, and another has taken over."""
    chance = random.Random(SEED + writers)
    file = tmp_path / "outside" / "orders.ndjson"
    acknowledged: set[int] = set()
    torn = repeated = 0
    for _ in range(ROUNDS):
        begun_at = next_of(acknowledged)
        running = [Writer(file, begun_at, EVENTS) for _ in range(writers)]
        for writer in running:
            assert writer.has_begun.wait(READY_SECONDS)
        time.sleep(chance.uniform(0, 0.1))  # a moment of chance is what this test is about
        for writer in running:
            assert writer.end(kill=True) == -9
            acknowledged.update(writer.acknowledged)
        content = file.read_bytes()
        torn += not content.endswith(b"\n")
        whole = {json.loads(line)["event_id"] for line in content.splitlines(keepends=True) if line.endswith(b"\n")}
        assert {id_of(number) for number in acknowledged} <= whole
        repeated += sum(id_of(number) in whole for number in range(next_of(acknowledged), next_of(acknowledged) + 100))

    last = max(acknowledged) + 50
    assert Writer(file, next_of(acknowledged), last).end(kill=False) == 0

    found = found_in(file)
    assert len(found) == len(set(found))
    assert {id_of(number) for number in range(1, last + 1)} <= set(found)
    assert (torn > 0, repeated > 0) == (True, True), "the test has not hit what it is about"
