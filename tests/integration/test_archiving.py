"""Parts of the log in files: readers see one log, whatever is archived, restored, killed or damaged meanwhile."""

import asyncio
import hashlib
import random
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from eventstore import ArchiveUnavailable, EventLog, Filter
from eventstore.archiving import ArchiveRefusedError
from eventstore.archiving import archiving as hold
from eventstore.manifest import NoBeginningError
from eventstore.share import Share
from runtime.postgres import connect
from tests.instances import MEMBER_PROFILE, ORDER_DETAIL, SALES_STATISTICS
from tests.integration.archived import (
    SIZE,
    all_of,
    all_of_types,
    archive,
    everything,
    fill,
    restore,
    small_partitions,
)

EVENTS = 3 * SIZE + 50
BOTH = ["MemberRegistered", "MemberPasswordChanged"]
SHARES = [Share(number, 3) for number in range(3)]
ONE_AGGREGATE = Filter(aggregate_type="member", aggregate_id="m-4")


@pytest.fixture
async def url(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A log of three whole partitions and a half."""
    await small_partitions(postgres_url, monkeypatch)
    await fill(postgres_url, EVENTS)
    return postgres_url


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where archive files go."""
    return tmp_path / "archive"


@pytest.fixture
async def log(url: str, folder: Path) -> AsyncIterator[EventLog]:
    """A reader."""
    async with EventLog(url, "test", archive_dir=folder) as log:
        yield log


async def live(url: str) -> list[int]:
    """The positions that are in the database."""
    connection = await connect(url, "test")
    try:
        return [row["position"] for row in await connection.fetch("SELECT position FROM event_log ORDER BY position")]
    finally:
        await connection.close()


async def seen(log: EventLog) -> list[object]:
    """What the reader makes of the log, in every way that there is to read it."""
    chance = random.Random(5)
    spans = [(chance.randrange(EVENTS), chance.randint(1, 2 * SIZE)) for _ in range(20)]
    positions = [1, SIZE - 1, SIZE, 2 * SIZE + 3, EVENTS]
    return [
        await everything(log),
        [await log.get(after, limit) for after, limit in spans],
        await all_of(log, ONE_AGGREGATE),
        await all_of(log, Filter(aggregate_id="nobody")),
        await all_of_types(log, ["MemberRegistered"], EVENTS),
        await all_of_types(log, ["MemberRegistered", "MemberPasswordChanged"], 2 * SIZE + 10),
        await log.of_types(["MemberPasswordChanged"], 50, 60, 100),
        [await all_of_types(log, types, EVENTS, share=share) for types in (BOTH[:1], BOTH) for share in SHARES],
        [await log.complete_up_to(position) for position in positions],
        await log.head(),
    ]


async def test_readers_see_the_same_log_before_and_after_and_with_part_of_it_restored(
    url: str, folder: Path, log: EventLog
) -> None:
    before = await seen(log)

    assert await archive(url, folder, EVENTS) == 3
    assert await live(url) == list(range(3 * SIZE, EVENTS + 1))
    assert await seen(log) == before
    async with EventLog(url, "another", archive_dir=folder) as other:
        assert await seen(other) == before

    assert await restore(url, folder, after=SIZE) == 2
    assert await live(url) == list(range(SIZE, EVENTS + 1))
    assert await seen(log) == before

    assert await restore(url, folder) == 1
    assert await live(url) == list(range(1, EVENTS + 1))
    assert await seen(log) == before

    assert await archive(url, folder, SIZE + 1) == 1
    assert await seen(log) == before


async def test_every_event_falls_to_one_share_and_all_of_an_aggregate_to_the_same_wherever_they_stand(
    url: str, folder: Path, log: EventLog
) -> None:
    assert await archive(url, folder, SIZE + 1) == 1
    shares = [await all_of_types(log, BOTH, EVENTS, share=share) for share in SHARES]
    assert sorted(event.position for share in shares for event in share) == list(range(1, EVENTS + 1))
    aggregates = [{event.aggregate_id for event in share} for share in shares]
    assert all(aggregates), "a share without events would prove nothing"
    assert len(set.union(*aggregates)) == sum(map(len, aggregates))


@pytest.mark.parametrize("of", [2, 3, 4])
async def test_the_database_and_this_process_share_alike(postgres_url: str, of: int) -> None:
    ids = ["", "a", "85123A", "Zoë", "주문-7", "🛒", "o" * 255, *(f"018f-{number:04x}" for number in range(300))]
    connection = await connect(postgres_url, "test")
    try:
        for share in (Share(number, of) for number in range(of)):
            rows = await connection.fetch(
                f"SELECT aggregate_id FROM unnest($1::text[]) AS aggregate_id WHERE {share.condition()}",  # noqa: S608
                ids,
            )
            assert [row["aggregate_id"] for row in rows] == [one for one in ids if share.holds(one)]
            assert len(rows) > len(ids) / of / 2, "shares of about the same size"
    finally:
        await connection.close()


async def test_the_log_goes_on_after_its_beginning_was_archived(url: str, folder: Path, log: EventLog) -> None:
    before = await everything(log)
    await archive(url, folder, EVENTS)

    await fill(url, SIZE)  # versions begin again, which is none of the log's business

    assert [one.position for one in await everything(log)] == list(range(1, EVENTS + SIZE + 1))
    assert (await everything(log))[:EVENTS] == before
    assert await archive(url, folder, EVENTS + SIZE) == 1
    assert (await everything(log))[:EVENTS] == before


async def test_the_manifest_says_what_is_where(url: str, folder: Path, log: EventLog) -> None:
    first = (await log.get(0, 1))[0].recorded_at
    await archive(url, folder, 2 * SIZE)

    files = msgspec.json.decode((folder / "manifest.json").read_bytes())["files"]

    assert [(one["first_position"], one["last_position"], one["events"]) for one in files] == [
        (1, SIZE - 1, SIZE - 1),
        (SIZE, 2 * SIZE - 1, SIZE),
    ]
    assert datetime.fromisoformat(files[0]["first_recorded_at"]) == first
    for one in files:
        content = (folder / one["file"]).read_bytes()
        assert (one["bytes"], one["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
        assert one["schema_version"] == 1


async def test_only_whole_partitions_before_a_position_or_a_moment_are_archived(
    url: str, folder: Path, log: EventLog
) -> None:
    recorded = [one.recorded_at for one in await everything(log)]
    async with hold(url, folder) as archive:

        async def names(before: int | datetime) -> list[str]:
            return [one.name for one in await archive.candidates(before, {})]

        assert await names(SIZE - 1) == []
        assert await names(SIZE) == ["event_log_000000"]
        assert await names(EVENTS + 1) == ["event_log_000000", "event_log_000001", "event_log_000002"]
        assert await names(recorded[2 * SIZE - 2]) == ["event_log_000000"]
        assert await names(recorded[2 * SIZE - 2] + timedelta(microseconds=1)) == [
            "event_log_000000",
            "event_log_000001",
        ]
        assert await names(datetime(2000, 1, 1, tzinfo=UTC)) == []
        assert len(await names(datetime(2100, 1, 1, tzinfo=UTC))) == 3


@pytest.mark.parametrize(
    ("before", "passed", "sentence"),
    [
        (EVENTS + 2, {}, f"position {EVENTS + 2} is beyond the head of the log, which is {EVENTS}"),
        (
            EVENTS,
            {ORDER_DETAIL: EVENTS, SALES_STATISTICS: 2 * SIZE, MEMBER_PROFILE: 3 * SIZE},
            f"sales_statistics.v1 is at position {2 * SIZE}, and has still to pass {3 * SIZE - 1},"
            " the last one to archive",
        ),
    ],
)
async def test_what_is_still_needed_is_refused_in_one_sentence(
    url: str, folder: Path, before: int, passed: dict[str, int], sentence: str
) -> None:
    async with hold(url, folder) as archive:
        with pytest.raises(ArchiveRefusedError) as refused:
            await archive.candidates(before, passed)
    assert str(refused.value) == sentence


async def test_the_partition_that_the_head_fills_to_the_last_position_stays(
    postgres_url: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await small_partitions(postgres_url, monkeypatch)
    await fill(postgres_url, SIZE - 1)
    assert await archive(postgres_url, folder, SIZE) == 0
    await fill(postgres_url, 1)
    assert await archive(postgres_url, folder, SIZE) == 1


async def test_two_archives_exclude_each_other(url: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eventstore.archiving._LOCK_ATTEMPTS", 2)
    async with hold(url, folder):
        with pytest.raises(ArchiveRefusedError, match="another process is archiving or restoring"):
            await archive(url, folder, EVENTS)
    assert await archive(url, folder, EVENTS) == 3


async def test_a_gap_in_a_partition_is_found_and_nothing_is_archived(url: str, folder: Path) -> None:
    connection = await connect(url, "test")
    await connection.execute("DELETE FROM event_log WHERE position = 150")
    await connection.close()
    with pytest.raises(ArchiveRefusedError, match="event_log_000001 has a gap after position"):
        await archive(url, folder, EVENTS)
    assert 150 not in await live(url)
    assert set(range(SIZE, 150)) < set(await live(url))


async def test_what_would_leave_a_live_partition_before_it_is_not_archived(url: str, folder: Path) -> None:
    async with hold(url, folder) as archive:
        _, second, _ = await archive.candidates(EVENTS, {})
        with pytest.raises(NoBeginningError, match="position 100 is not the next one to archive"):
            await archive.archive([second])
    assert await live(url) == list(range(1, EVENTS + 1))


async def test_another_directory_than_before_is_refused(url: str, folder: Path, tmp_path: Path) -> None:
    await archive(url, folder, SIZE)
    with pytest.raises(ArchiveRefusedError, match="READSIDE_ARCHIVE_DIR"):
        await archive(url, tmp_path / "elsewhere", EVENTS)
    assert await live(url) == list(range(SIZE, EVENTS + 1))


def files_in(folder: Path) -> list[Path]:
    """The archive files, in the order of the log."""
    return sorted(folder.glob("*.parquet"))


def flip(file: Path, at: int) -> None:
    """Damage one byte, as an old disk does."""
    content = bytearray(file.read_bytes())
    content[at] ^= 0x40
    file.write_bytes(content)


@pytest.mark.parametrize("damage", ["flipped", "cut", "missing"])
async def test_a_damaged_file_is_a_clear_error_and_never_a_gap_and_a_mended_one_is_read_again(
    url: str, folder: Path, log: EventLog, damage: str
) -> None:
    before = await everything(log)
    await archive(url, folder, EVENTS)
    file = files_in(folder)[1]
    content = file.read_bytes()
    assert await everything(log) == before  # it was read once, and is not taken for good because of that
    if damage == "flipped":
        flip(file, len(content) // 2)
    elif damage == "cut":
        file.write_bytes(content[:-100])
    else:
        file.unlink()

    reads: list[Callable[[], Awaitable[object]]] = [
        lambda: log.get(SIZE, 10),
        lambda: log.get(0, EVENTS),
        lambda: log.get(0, EVENTS, ONE_AGGREGATE),
        lambda: log.of_types(["MemberPasswordChanged"], 0, EVENTS, EVENTS),
        lambda: log.complete_up_to(SIZE + 50),
    ]
    for read in reads:
        with pytest.raises(ArchiveUnavailable, match=file.name):
            await read()
    with pytest.raises(ArchiveUnavailable, match=file.name):
        await restore(url, folder, after=SIZE)
    assert await log.get(2 * SIZE, 10) == before[2 * SIZE : 2 * SIZE + 10]  # what came back before it

    file.write_bytes(content)
    assert await everything(log) == before
    await restore(url, folder)
    assert await live(url) == list(range(1, EVENTS + 1))


async def test_a_reader_that_was_not_told_where_archives_are_says_so(url: str, folder: Path) -> None:
    await archive(url, folder, SIZE)
    async with EventLog(url, "test") as log:
        with pytest.raises(ArchiveUnavailable, match="was not told where archives are"):
            await log.get(0, 1)
        assert [one.position for one in await log.get(SIZE, 1)] == [SIZE + 1]


async def test_readers_see_no_gap_while_partitions_come_and_go(url: str, folder: Path, log: EventLog) -> None:
    before = await everything(log)
    aggregate = [one for one in before if one.aggregate_id == "m-4"]
    registered = [one for one in before if one.event_type == "MemberRegistered"]
    over = asyncio.Event()

    async def keep_reading(chance: random.Random) -> int:
        rounds = 0
        async with EventLog(url, "reader", archive_dir=folder, pool_size=2) as mine:
            while not over.is_set():
                found = await asyncio.gather(
                    everything(mine, chance.randint(5, 300)),
                    all_of(mine, ONE_AGGREGATE, chance.randint(1, 30)),
                    all_of_types(mine, ["MemberRegistered"], EVENTS, chance.randint(1, 30)),
                )
                assert list(found) == [before, aggregate, registered]
                rounds += 1
        return rounds

    readers = [asyncio.create_task(keep_reading(random.Random(number))) for number in range(3)]
    for _ in range(4):
        assert await archive(url, folder, EVENTS) == 3
        assert await restore(url, folder) == 3
    over.set()

    assert min(await asyncio.gather(*readers)) > 0


POINTS = [
    "while a file is being written",
    "before the file has its name",
    "before the manifest has its line",
    "before the partition is dropped",
    "after the partition was dropped",
    "while events are being restored",
    "before the restored partition is attached",
    "after the restored partition was attached",
]


@pytest.mark.parametrize("point", POINTS)
async def test_a_kill_at_any_point_neither_loses_nor_repeats_an_event(
    url: str, folder: Path, log: EventLog, point: str
) -> None:
    before = await everything(log)
    is_restore = "restored" in point
    if is_restore:
        await archive(url, folder, EVENTS)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.crash.archiver", point, url, str(folder)
    )
    assert await asyncio.wait_for(process.wait(), 60) == -9

    assert await everything(log) == before
    async with EventLog(url, "another", archive_dir=folder) as other:
        assert await everything(other) == before

    await (restore(url, folder) if is_restore else archive(url, folder, EVENTS))
    assert await everything(log) == before
    assert await live(url) == list(range(1 if is_restore else 3 * SIZE, EVENTS + 1))
