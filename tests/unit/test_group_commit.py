"""Whoever comes while a write runs shares the next one; nobody hears of success before it is one."""

import asyncio
import threading
from collections.abc import Sequence

import pytest

from runtime.group_commit import GroupCommit


class Disk:
    """Writes as slowly as a test wants it to."""

    def __init__(self) -> None:
        self.writes: list[list[int]] = []
        self.fails = False
        self.may_end = threading.Event()
        self.has_begun = threading.Event()

    def write(self, items: Sequence[int]) -> None:
        """Begins, waits to be let go, and ends or fails."""
        self.has_begun.set()
        assert self.may_end.wait(10)
        if self.fails:
            raise OSError("no space left")
        self.writes.append(list(items))


async def begun(disk: Disk) -> None:
    """A write is under way."""
    assert await asyncio.to_thread(disk.has_begun.wait, 10)


async def test_a_lone_item_waits_for_nobody_and_those_who_come_meanwhile_share_a_write() -> None:
    disk = Disk()
    group = GroupCommit(disk.write)
    first = asyncio.create_task(group.add(0))
    await begun(disk)
    others = [asyncio.create_task(group.add(number)) for number in range(1, 100)]
    await asyncio.sleep(0)
    assert not first.done()

    disk.may_end.set()
    await asyncio.gather(first, *others)

    assert disk.writes == [[0], list(range(1, 100))]


async def test_a_failed_write_is_told_to_everybody_in_it_and_to_nobody_else() -> None:
    disk = Disk()
    disk.fails = True
    disk.may_end.set()
    group = GroupCommit(disk.write)

    for number in range(2):
        with pytest.raises(OSError, match="no space left"):
            await group.add(number)
    disk.fails = False
    await group.add(2)

    assert disk.writes == [[2]]


async def test_one_who_gives_up_takes_nobody_along() -> None:
    disk = Disk()
    group = GroupCommit(disk.write)
    first = asyncio.create_task(group.add(0))
    await begun(disk)
    second = asyncio.create_task(group.add(1))
    await asyncio.sleep(0)
    first.cancel()
    disk.may_end.set()

    await second
    await group.close()

    assert disk.writes == [[0], [1]]
