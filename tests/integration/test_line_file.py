"""The file of JSON lines: one line per event, no torn one, whoever writes, dies, or takes the file away."""

import errno
import fcntl
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from runtime import line_file
from runtime.line_file import Line, LineFile


def line(event_id: str, told: str = "") -> Line:
    """What is told of one event."""
    return Line(event_id, json.dumps({"event_id": event_id, "told": told}, ensure_ascii=False).encode())


def lines(*event_ids: str) -> list[Line]:
    """What is told of several."""
    return [line(event_id) for event_id in event_ids]


def ids(path: Path) -> list[str]:
    """Of the events that stand in a file: whole lines only, and every one of them."""
    text = path.read_bytes()
    assert text == b"" or text.endswith(b"\n")
    return [json.loads(one)["event_id"] for one in text.splitlines()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outside" / "orders.ndjson"


def test_lines_are_appended_in_order_and_a_repeat_is_not(path: Path) -> None:
    file = LineFile(path)
    file.append(lines("a", "b", "a"))
    file.append(lines("b", "c"))

    assert ids(path) == ["a", "b", "c"]


def test_text_of_any_language_stays_one_line(path: Path) -> None:
    LineFile(path).append([line("a", "김철수\u2028\n두 번째")])

    assert len(path.read_bytes().split(b"\n")) == 2
    assert json.loads(path.read_bytes())["told"] == "김철수\u2028\n두 번째"


def test_another_process_knows_what_is_there(path: Path) -> None:
    LineFile(path).append(lines("a", "b"))
    LineFile(path).append(lines("b", "c"))

    assert ids(path) == ["a", "b", "c"]


@pytest.mark.parametrize("torn", [b"{", b'{"event_id": "b"', b'{"event_id": "b", "told": ""}', b"\0" * 5000])
def test_a_torn_line_is_cut_off_and_its_event_is_written_whole(path: Path, torn: bytes) -> None:
    LineFile(path).append(lines("a"))
    with path.open("ab") as file:
        file.write(torn)

    LineFile(path).append(lines("b"))

    assert ids(path) == ["a", "b"]


def test_a_line_torn_by_another_process_while_this_one_lives_is_cut_off_too(path: Path) -> None:
    mine = LineFile(path)
    mine.append(lines("a"))
    with path.open("ab") as other:
        other.write(line("b").body + b"\n" + b'{"event_id": "c"')

    mine.append(lines("b", "c"))

    assert ids(path) == ["a", "b", "c"]


def test_a_line_that_somebody_else_wrote_is_left_alone(path: Path) -> None:
    LineFile(path).append(lines("a"))
    with path.open("ab") as file:
        file.write(b"# by hand\n")

    LineFile(path).append(lines("a", "b"))

    assert path.read_bytes().splitlines()[1:] == [b"# by hand", line("b").body]


@pytest.mark.parametrize("count", [1, 9, 10, 11, 25])
def test_as_many_lines_are_remembered_as_promised(path: Path, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_file, "_BLOCK", 64)  # so that the end is looked for over several blocks
    written = [f"event {number}" for number in range(count)]
    LineFile(path).append(lines(*written))

    again = LineFile(path, remembered=10)
    again.append(lines(*written[-10:]))
    assert ids(path) == written

    again.append(lines(*written))
    assert ids(path)[count:] == written[:-10]


def test_two_who_write_at_once_write_each_event_once(path: Path) -> None:
    everything = [f"event {number}" for number in range(300)]
    files = [LineFile(path) for _ in range(4)]

    def write(file: LineFile) -> None:
        for at in range(0, len(everything), 7):
            file.append(lines(*everything[at : at + 7]))

    threads = [threading.Thread(target=write, args=(file,)) for file in files]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(ids(path)) == sorted(everything)


def test_whoever_takes_the_file_away_finds_a_new_one_in_its_place(path: Path) -> None:
    file = LineFile(path)
    file.append(lines("a"))
    taken = path.rename(path.with_suffix(".taken"))
    file.append(lines("a", "b"))

    assert (ids(taken), ids(path)) == (["a"], ["b"])


def test_a_file_that_was_emptied_goes_on(path: Path) -> None:
    file = LineFile(path)
    file.append(lines("a", "b"))
    path.write_bytes(b"")
    file.append(lines("c"))

    assert ids(path) == ["c"]


def noted_syncs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How long the file was at each ``fsync``."""
    syncs: list[int] = []
    sync = os.fsync

    def noting(descriptor: int) -> None:
        syncs.append(os.fstat(descriptor).st_size)
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", noting)
    return syncs


class BadDisk:
    """A disk that takes so many bytes and no more, or on which nothing becomes durable; until it is repaired."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, takes: int | None = None) -> None:
        self.is_repaired = False
        self._takes = takes
        self._write, self._sync = os.write, os.fsync
        monkeypatch.setattr(os, "write", self.write)
        monkeypatch.setattr(os, "fsync", self.sync)

    def write(self, descriptor: int, told: bytes) -> int:
        """A part, then nothing."""
        if self.is_repaired or self._takes is None:
            return self._write(descriptor, told)
        if self._takes == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        part = told[: self._takes]
        self._takes = 0
        return self._write(descriptor, part)

    def sync(self, descriptor: int) -> None:
        """Where it takes everything, it lies about it."""
        if not self.is_repaired and self._takes is None:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self._sync(descriptor)


@pytest.mark.parametrize("takes", [0, 5, 40, 75])
def test_a_full_disk_leaves_no_part_of_a_batch(path: Path, monkeypatch: pytest.MonkeyPatch, takes: int) -> None:
    file = LineFile(path)
    file.append(lines("a"))
    disk = BadDisk(monkeypatch, takes=takes)

    with pytest.raises(OSError, match="No space left"):
        file.append(lines("b", "c", "d"))
    assert ids(path) == ["a"]

    disk.is_repaired = True
    file.append(lines("b", "c", "d"))
    assert ids(path) == ["a", "b", "c", "d"]


def test_what_could_not_be_made_durable_is_not_believed_to_be_there(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = LineFile(path)
    file.append(lines("a"))
    disk = BadDisk(monkeypatch)

    with pytest.raises(OSError, match="Input/output"):
        file.append(lines("b"))
    assert ids(path) == ["a"]

    disk.is_repaired = True
    file.append(lines("b"))
    assert ids(path) == ["a", "b"]


def test_what_a_dead_writer_left_unsynced_is_synced_before_it_counts(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    LineFile(path).append(lines("a"))
    with path.open("ab") as dead:
        dead.write(line("b").body + b"\n")
    synced = noted_syncs(monkeypatch)

    LineFile(path).append(lines("b"))

    assert path.stat().st_size in synced


def test_one_who_holds_the_file_for_ever_is_not_waited_for_for_ever(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line_file, "_LOCK_PATIENCE_SECONDS", 0.2)
    file = LineFile(path)
    file.append(lines("a"))
    with _holding(path) as holder:
        with pytest.raises(TimeoutError, match="another process holds the file"):
            file.append(lines("b"))
        holder.kill()
    file.append(lines("b"))

    assert ids(path) == ["a", "b"]


def test_nobody_else_on_the_machine_reads_it(path: Path) -> None:
    LineFile(path).append(lines("a"))

    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def _holding(path: Path) -> "subprocess.Popen[str]":
    source = (
        f"import fcntl, sys; fcntl.flock(f := open(sys.argv[1]), {fcntl.LOCK_EX}); print(flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", source, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    holder.stdout.readline()
    return holder
