"""The points' view as the projector makes it of the real log."""

from command.points.model import PointsAccount
from command.points.service import charge_points
from command.points.storage import PointsAccounts
from command.unit_of_work import UnitOfWork
from runtime.clock import now
from runtime.settings import Settings
from tests.integration.projecting import a_read_side, a_shop, projecting
from tests.oracle.views import differences, expected_views


async def spend(uow: UnitOfWork, payment_id: str, points: int) -> PointsAccount:
    """A payment of Ann's that fails for every points that are even."""
    about = {"order_id": f"order-{payment_id}", "payment_id": payment_id}
    account = await uow.repository(PointsAccounts).locked("ann")
    if account.use(points, **about, at=now()) and points % 2 == 0:
        account.give_back(points, **about, failure_code="card-declined", reason="No money.", at=now())
    return account


async def test_the_view_holds_what_happened_to_every_account(settings: Settings) -> None:
    async with a_shop(settings.postgres_url or "") as shop, a_read_side(settings) as read_side, projecting(settings):
        for member_id in ("ann", "ben"):
            await shop.command(lambda uow, to=member_id: charge_points(uow, to, points=2000, reason="welcome"))  # type: ignore[misc]
        for number in range(1, 80):
            await shop.command(lambda uow, n=number: spend(uow, f"pay-{n}", n))  # type: ignore[misc]
        await read_side.reached(len(shop.acknowledged))

        assert differences(await read_side.views(), expected_views(shop.acknowledged)) == []
        accounts = await read_side.documents("points_account.v1")
        assert (accounts["ann"]["balance"], len(accounts["ann"]["entries"])) == (400, 100)
        assert accounts["ben"]["balance"] == 2000
