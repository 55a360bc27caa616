"""Two commands that make the same aggregate at the same moment: the second finds what the first has made.

Points stand for every context whose aggregates have an id that is not made up for them.
"""

import pytest

from command.errors import ConcurrentUpdate
from command.points.storage import PointsAccounts
from tests.builders import PLACED_AT
from tests.integration.commanding import Shop, shop

__all__ = ["shop"]


async def test_an_aggregate_that_another_transaction_has_made_meanwhile_is_a_lost_race(shop: Shop) -> None:
    async with shop.transaction() as early, shop.transaction() as late:
        for uow, points in ((early, 10), (late, 20)):
            account = await uow.repository(PointsAccounts).locked("ann")
            account.charge(points, "welcome", at=PLACED_AT)
        await early.commit()

        with pytest.raises(ConcurrentUpdate) as refused:
            await late.commit()

    assert refused.value.facts == {"aggregate": "PointsAccount", "id": "ann"}
    assert [row["balance"] for row in await shop.rows("SELECT balance FROM points_accounts")] == [10]
