"""Seats for those who wait, and how they are woken."""

import asyncio

import pytest

from runtime.listeners import Listeners
from runtime.problems import Problem


async def test_a_wake_up_before_the_wait_is_not_lost_and_ten_are_one() -> None:
    listeners = Listeners(1)
    with listeners.seat("orders", "o-1", seconds=60) as listener:
        assert await listener.woken()
        for _ in range(10):
            listeners.wake("orders", "o-1")
        assert await listener.woken()
        waiting = asyncio.create_task(listener.woken())
        await asyncio.sleep(0)
        assert not waiting.done()
        listeners.wake_all("orders")
        assert await waiting


async def test_only_those_who_listen_to_the_same_are_woken() -> None:
    listeners = Listeners(3)
    with (
        listeners.seat("orders", "o-1", seconds=60) as one,
        listeners.seat("orders", "o-2", seconds=60) as two,
        listeners.seat("sales", "o-1", seconds=60) as three,
    ):
        assert [await listener.woken() for listener in (one, two, three)] == [True] * 3
        waits = [asyncio.create_task(listener.woken()) for listener in (one, two, three)]
        listeners.wake("orders", "o-1")
        await waits[0]
        assert [wait.done() for wait in waits] == [True, False, False]
        listeners.close()
        assert await asyncio.gather(*waits) == [True, False, False]


async def test_a_seat_that_is_left_is_free_again() -> None:
    listeners = Listeners(1)
    assert not listeners.is_occupied("orders")
    for _ in range(3):
        with listeners.seat("orders", seconds=60):
            assert listeners.is_occupied("orders")
            with pytest.raises(Problem) as refused, listeners.seat("sales", seconds=60):
                pass
            assert (refused.value.status, refused.value.slug) == (503, "too-many-listeners")
        assert (listeners.count, listeners.is_occupied("orders")) == (0, False)


async def test_when_the_time_is_over_nobody_waits_any_longer() -> None:
    listeners = Listeners(2)
    with listeners.seat("orders", seconds=-1) as late, listeners.seat("orders", seconds=0.01) as soon:
        assert not await late.woken()
        assert not late.stays
        while await soon.woken():
            pass
        assert not soon.stays


async def test_whoever_comes_after_the_close_leaves_at_once() -> None:
    listeners = Listeners(1)
    listeners.close()
    with listeners.seat("orders", seconds=60) as listener:
        assert not await listener.woken()
