"""``readside demo`` against a real shop: everything happens, poison is healed also where it is ended meanwhile."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator

import httpx
import pytest

from tests.e2e.stack import READSIDE, Stack, wait_for


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("demo") / "d", "--demo") as running:
        running.until_ready()
        wait_for(lambda: "orders loaded" in running.log(), "the demo shop")
        yield running


def started(stack: Stack, *options: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*READSIDE, "demo", "--data-dir", str(stack.data_dir), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ,
    )


def counted(summary: str) -> dict[str, int]:
    return {name: int(count) for name, count in re.findall(r"(\w+) (\d+)(?:,|$)", summary, re.MULTILINE)}


def parked(stack: Stack) -> float:
    text = httpx.get(f"http://127.0.0.1:{stack.run().projector_port}/metrics").text
    found = re.search(r'readside_projection_parked_sequences\{projection="posts"\} (\S+)', text)
    assert found is not None
    return float(found[1])


def test_a_day_without_poison_places_pays_and_ends_by_itself(stack: Stack) -> None:
    day = started(stack, "--rate", "8", "--seconds", "4", "--no-poison")
    summary, told = day.communicate(timeout=60)

    assert day.returncode == 0, told
    count = counted(summary)
    assert count["placed"] == 32
    assert count["paid"] > 0
    assert count["failed"] == count["parked"] == 0
    assert "visible after" in summary


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_who_ends_it_leaves_no_poison(stack: Stack, ending: signal.Signals) -> None:
    day = started(stack, "--rate", "2", "--heal-after", "600")
    wait_for(lambda: parked(stack) == 1, "the poisoned event")
    time.sleep(1)
    day.send_signal(ending)
    summary, told = day.communicate(timeout=60)

    assert day.returncode == 0, told
    assert "Traceback" not in told
    count = counted(summary)
    assert (count["parked"], count["healed"], count["failed"]) == (1, 1, 0), told
    wait_for(lambda: parked(stack) == 0, "the healing")


def test_urls_are_given_together_and_never_poisoned(stack: Stack) -> None:
    some = started(stack, "--command-url", "http://127.0.0.1:1")
    assert "give all of them" in some.communicate(timeout=60)[1]
    assert some.returncode == 2

    urls = [part for name in ("command", "query", "projector") for part in (f"--{name}-url", "http://127.0.0.1:1")]
    poisoned = started(stack, *urls, "--poison")
    assert "keeps in a data directory" in poisoned.communicate(timeout=60)[1]
    assert poisoned.returncode == 2

    nobody = started(stack, *urls)
    assert "nobody answers at http://127.0.0.1:1" in nobody.communicate(timeout=60)[1]
    assert nobody.returncode == 1
