"""A task ends with its process, also one that was canceled in vain."""

import asyncio

from runtime.tasks import ended


async def test_a_task_whose_cancellation_was_taken_for_a_lost_connection_ends_all_the_same() -> None:
    tries = 0

    async def following() -> None:
        nonlocal tries
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                tries += 1
                if tries > 1:
                    raise
                # As the driver does: it tells of a lost connection, and the follower follows anew.

    async def over() -> None:
        raise OSError

    tasks = [asyncio.create_task(following()), asyncio.create_task(over())]
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await ended(*tasks)
    assert [task.done() for task in tasks] == [True, True]
    assert tries == 2
