"""``readside projections verify``: what it prints, and its exit status."""

import asyncio
import os
import sys

import pytest

from runtime.settings import Settings
from tests.instances import ORDER_DETAIL
from tests.integration.projecting import a_read_side, a_shop, projecting

INSTANCE = ORDER_DETAIL


async def verify(settings: Settings, *arguments: str) -> tuple[int, str, str]:
    """Exit status, standard output, standard error."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "readside",
        "projections",
        "verify",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | settings.environment(),
    )
    output, errors = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode(), errors.decode()


async def test_the_status_is_1_where_something_differs_and_0_once_it_is_healed(settings: Settings) -> None:
    async with a_shop(settings.postgres_url or "") as shop, a_read_side(settings) as read_side:
        async with projecting(settings):
            order_id, lost = await shop.place(), await shop.place()
            await read_side.reached(len(shop.acknowledged))
        position = len(shop.acknowledged)
        await read_side.database[INSTANCE].update_one({"_id": order_id}, {"$set": {"shipping_info.message": "x" * 99}})
        await read_side.database[INSTANCE].delete_one({"_id": lost})
        different = [
            f"  different {order_id}",
            f'    shipping_info.message: "{"x" * 58}… instead of "ring twice"',
            f"  missing   {lost}",
            f"{INSTANCE}: 2 documents compared at position {position}, 2 differences.",
        ]
        status, output, errors = await verify(settings, "order_detail")
        assert (status, output.splitlines(), errors) == (1, different, "")

        status, output, errors = await verify(settings, "--heal")
        assert (status, errors) == (0, "")
        assert output.splitlines()[-1].startswith("reconciliation: 11 totals of orders and statistics, no difference")
        assert {*different, f"{INSTANCE}: 2 documents healed."} <= set(output.splitlines())
        fine = f"{INSTANCE}: 2 documents compared at position {position}, no difference.\n"
        assert await verify(settings, "order_detail") == (0, fine, "")


@pytest.mark.parametrize("arguments", [("nothing",), ("order_detail",)])
async def test_the_status_is_2_for_a_projection_that_does_not_exist(
    settings: Settings, arguments: tuple[str, ...]
) -> None:
    status, output, errors = await verify(settings, *arguments)
    assert (status, output) == (2, "")
    assert errors == f"readside: There is no projection named {arguments[0]}.\n"


async def test_the_status_is_1_with_one_line_where_a_database_is_away(settings: Settings) -> None:
    shopping, reading = a_shop(settings.postgres_url or ""), a_read_side(settings)
    async with shopping as shop, reading as read_side, projecting(settings):
        await read_side.reached(len(shop.acknowledged))
    away = settings.model_copy(update={"postgres_url": "postgresql://nobody@127.0.0.1:1/readside"})
    status, output, errors = await verify(away, "order_detail")
    assert (status, output) == (1, "")
    assert errors.startswith("readside: a database did not play along (")
    assert len(errors.splitlines()) == 1
