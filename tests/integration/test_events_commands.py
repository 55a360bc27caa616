"""``readside events`` as somebody types it, on a database of its own."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import msgspec
import pytest

from events.catalog import StockAdjusted
from events.members import MemberPasswordChanged
from eventstore import EventLog, PendingEvent, Sequencer, append
from readside.commands.events import position_or_moment
from runtime.errors import SettingsError
from runtime.postgres import connect, make_engine
from runtime.settings import Settings
from tests.integration.archived import SIZE, everything, fill, small_partitions
from tests.unit.views.given import MOMENT

_PATIENCE_SECONDS = 60.0


@pytest.fixture
async def small(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of a log of two whole partitions and some events more."""
    await small_partitions(settings.postgres_url or "", monkeypatch)
    await fill(settings.postgres_url or "", 2 * SIZE + 5)
    return settings


def command(settings: Settings, *arguments: str) -> tuple[list[str], dict[str, str]]:
    """What to run, and with what around it."""
    return [sys.executable, "-m", "readside", "events", *arguments], os.environ | settings.environment()


def events(settings: Settings, *arguments: str, status: int = 0) -> tuple[str, str]:
    """Run it to its end: standard output, standard error."""
    argv, environment = command(settings, *arguments)
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=_PATIENCE_SECONDS)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout, done.stderr


async def test_archive_and_restore_say_what_they_did(small: Settings) -> None:
    async with EventLog(small.postgres_url or "", "test", archive_dir=small.archives) as log:
        before = await everything(log)

        told, _ = events(small, "archive", "--before", str(2 * SIZE + 1))

        assert [line.split(":")[0] for line in told.splitlines()] == ["archived 1 to 99", "archived 100 to 199"]
        files = sorted(file.name for file in small.archives.iterdir())
        assert [file[: len("events-000000000001")] for file in files] == [
            "events-000000000001",
            "events-000000000100",
            "manifest.json",
        ]
        assert await everything(log) == before
        assert events(small, "archive", "--before", "2100-01-01")[1].startswith("nothing to be archived")

        told, _ = events(small, "restore")

        assert [line.split(":")[0] for line in told.splitlines()] == ["restored 100 to 199", "restored 1 to 99"]
        assert await everything(log) == before


async def test_what_cannot_be_done_is_one_sentence_and_status_2(small: Settings) -> None:
    told = events(small, "archive", "--before", "1000", status=2)
    assert told == ("", "readside: position 1,000 is beyond the head of the log, which is 205\n")


@pytest.mark.parametrize(
    ("before", "sentence"),
    [
        ("yesterday", "a position, a date or an RFC 3339 time is needed"),
        ("-5", "a position, a date or an RFC 3339 time is needed"),
        ("2026-01-01T10:00:00", "a time needs its zone, such as Z"),
    ],
)
def test_what_is_no_position_and_no_moment_is_refused(before: str, sentence: str) -> None:
    with pytest.raises(SettingsError, match=f"^--before {before}: {sentence}$"):
        position_or_moment(before)


def test_a_date_begins_at_midnight_utc() -> None:
    assert position_or_moment("4711") == 4711
    assert position_or_moment("2026-01-02") == datetime(2026, 1, 2, tzinfo=UTC)
    assert position_or_moment("2026-01-02T03:04:05+09:00") == datetime(2026, 1, 1, 18, 4, 5, tzinfo=UTC)


async def test_the_last_events_are_printed_one_a_line(small: Settings) -> None:
    lines = events(small, "tail", "--no-follow")[0].splitlines()
    assert [line.split()[0] for line in lines] == [str(position) for position in range(196, 206)]
    assert lines[-1].split()[2:4] == ["MemberPasswordChanged", "member/m-9"]

    first = events(small, "tail", "--no-follow", "--after", "0", "--aggregate", "m-4")[0].splitlines()
    assert [int(line.split()[0]) for line in first] == list(range(5, 206, 13))

    newest = events(small, "tail", "--no-follow", "-n", "2", "--type", "MemberRegistered", "--json")[0].splitlines()
    assert [msgspec.json.decode(line)["position"] for line in newest] == [12, 13]
    assert msgspec.json.decode(newest[1])["data"] == {"email": "m-12@example.org", "name": "Zoë"}


async def test_archived_events_are_printed_too(small: Settings) -> None:
    everything_before = events(small, "tail", "--no-follow", "--after", "0", "--json")[0]
    events(small, "archive", "--before", "200")
    assert events(small, "tail", "--no-follow", "--after", "0", "--json")[0] == everything_before
    for file in small.archives.glob("*.parquet"):
        file.unlink()
    assert "is missing" in events(small, "tail", "--no-follow", "--after", "0", status=1)[1]


async def test_a_payload_cannot_speak_to_the_terminal(settings: Settings) -> None:
    url = settings.postgres_url or ""
    connection = await connect(url, "test")
    for payload in ('{"reason": "\x1b[2J\u202e\x07"}', "no JSON \x9b1m\nat all"):
        await connection.execute(
            "INSERT INTO outbox (event_id, event_type, schema_version, aggregate_type, aggregate_id, aggregate_version,"
            " occurred_at, payload) VALUES (gen_random_uuid(), 'Tried', 1, 'member', E'm-\u0085', 1, now(), $1)",
            payload,
        )
    await connection.close()
    await sequence(url)

    told = events(settings, "tail", "--no-follow")[0]
    as_json = events(settings, "tail", "--no-follow", "--json")[0]

    assert (told.count("\n"), as_json.count("\n")) == (2, 2)
    assert told.replace("\n", "").isprintable()
    assert as_json.replace("\n", "").isprintable()
    assert r"\u001b[2J\u202e\u0007" in told
    assert [msgspec.json.decode(line)["data"] for line in as_json.splitlines()][1] == "no JSON \x9b1m\nat all"


@contextmanager
def following(settings: Settings, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], Callable[[], str]]]:
    """A tail that goes on, and what it has printed so far."""
    argv, environment = command(settings, "tail", *arguments)
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(argv, env=environment, stdout=output, stderr=subprocess.PIPE, text=True)

        def printed() -> str:
            return os.pread(output.fileno(), os.fstat(output.fileno()).st_size, 0).decode()

        try:
            yield process, printed
        finally:
            process.kill()
            process.communicate()


def piped(settings: Settings, *arguments: str) -> subprocess.Popen[str]:
    """It, at the beginning of a pipe."""
    argv, environment = command(settings, *arguments)
    return subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(reached: Callable[[], bool], what: str) -> None:
    """Look every 50 ms."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not reached():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.05)


async def sequence(url: str) -> None:
    """Number what waits in the outbox."""
    sequencer = Sequencer(url)
    await sequencer.sequence()
    await sequencer.close()


async def adjust(url: str, version: int) -> None:
    """One event more."""
    engine = make_engine(url, "test writer", pool_size=1)
    async with engine.begin() as connection:
        event = StockAdjusted(delta=1, reason="test") if version % 2 else MemberPasswordChanged()
        await append(connection, [PendingEvent(f"a-{version}", 1, MOMENT, event)])
    await engine.dispose()
    await sequence(url)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_it_follows_the_log_and_ends_well_when_it_is_told_to(settings: Settings, number: signal.Signals) -> None:
    url = settings.postgres_url or ""
    await adjust(url, 1)
    with following(settings, "--type", "StockAdjusted") as (process, printed):
        wait_for(lambda: "a-1" in printed(), "the first event")
        for version in (2, 3, 4, 5):
            await adjust(url, version)
        wait_for(lambda: "a-5" in printed(), "the newest event")
        process.send_signal(number)
        assert process.wait(_PATIENCE_SECONDS) == 0
        assert [line.split()[3] for line in printed().splitlines()] == ["product/a-1", "product/a-3", "product/a-5"]
        assert process.stderr is not None
        assert process.stderr.read() == ""


async def test_it_ends_when_nobody_reads_any_more(small: Settings) -> None:
    process = piped(small, "tail")
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        assert process.stdout.readline().split()[0] == "196"
        process.stdout.close()
        assert process.wait(_PATIENCE_SECONDS) == 0
        assert process.stderr.read() == ""
    finally:
        process.kill()
        process.stderr.close()
