"""The checkout saga: whatever is late, lost, repeated or killed, money, stock, coupons and points add up in the end.

Hypothesis places, pays, cancels, ships and expires orders, and decides when a reaction gets its next event, when the
gateway answers, what of its answers gets lost, when the daemon dies, and what comes again. Then everything is let come
to rest, and counted, by nothing but SQL over each context's own tables, the bank's books, and the log.

The same machine is run against sagas with planted bugs, and must find them.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from typing import Any, ClassVar

import pytest
import uvloop
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test
from sqlalchemy import text

from command.bootstrap import before_commit_handlers, neighbours
from command.catalog import service as catalog
from command.coupons import service as coupons
from command.coupons.model import Terms
from command.errors import CommandRefused
from command.ordering import service as ordering
from command.ordering.model import OrderStatus
from command.ordering.service import Neighbours
from command.ordering.storage import Orders
from command.payments import service as payments
from command.payments.model import Payment
from command.points import service as points
from command.unit_of_work import Transactions, UnitOfWork
from eventstore import Doorbell
from runtime.clock import now
from runtime.postgres import make_engine
from runtime.settings import Settings
from runtime.tokens import Caller
from tests.builders import SHIPPING_INFO
from tests.property.checkout import Daemon, command, events_named

MEMBERS = ("ann", "ben")
PRODUCTS = ("p-1", "p-2")
STOCK, PRICE, CHARGED_POINTS, COUPONS_EACH = 5, 100, 150, 2
STAFF = Caller("staff", frozenset({"staff"}))
CODE = "TEN"
_RESET = """
    TRUNCATE outbox, orders, order_lines, products, product_stock, payments, payment_sagas, points_accounts,
             points_ledger, points_sagas, coupons, coupons_left, coupons_taken, issued_coupons, coupon_uses
"""

LATELY = settings(
    max_examples=40,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
UNTIL_FOUND = settings(LATELY, max_examples=400, phases=[Phase.generate], database=None, print_blob=False)


class Shop:
    """The database and the loop that all examples share."""

    def __init__(self, shop_settings: Settings, runner: asyncio.Runner) -> None:
        assert shop_settings.postgres_url is not None
        self.settings = shop_settings
        self.runner = runner
        self.engine = make_engine(shop_settings.postgres_url, "test saga", pool_size=8)
        # Nobody listens: the machine reads the outbox itself.
        self.transactions = Transactions(self.engine, before_commit_handlers(), Doorbell(shop_settings.postgres_url))
        self.neighbours = neighbours()[Neighbours]

    def run(self, work: Awaitable[Any]) -> Any:
        """Run on the machine's loop."""

        async def awaited() -> Any:
            return await work

        return self.runner.run(awaited())

    async def open(self) -> Daemon:
        """An empty shop with two products, two members who have points and coupons, and a daemon that has seen it."""
        async with self.engine.begin() as connection:
            await connection.execute(text(_RESET))
        terms = Terms(
            name="Ten percent",
            kind="percent",
            value=10,
            currency="EUR",
            minimum_amount=0,
            valid_from=datetime(2020, 1, 1, tzinfo=UTC),
            valid_until=datetime(2100, 1, 1, tzinfo=UTC),
        )
        for product_id in PRODUCTS:
            await self.command(
                lambda uow, product_id=product_id: catalog.register_product(  # type: ignore[misc]
                    uow, product_id, name="Pen", category="pens", unit_price=PRICE, currency="EUR", stock=STOCK
                )
            )
        await self.command(lambda uow: coupons.define_coupon(uow, CODE, terms=terms))
        for member in MEMBERS:
            await self.command(
                lambda uow, member=member: points.charge_points(uow, member, points=CHARGED_POINTS, reason="gift")  # type: ignore[misc]
            )
            for _ in range(COUPONS_EACH):
                await self.command(
                    lambda uow, member=member: coupons.issue_coupon(uow, CODE, member_id=member)  # type: ignore[misc]
                )
        daemon = Daemon(self.transactions, self.settings)
        await daemon.read()
        return daemon

    async def command(self, use_case: Callable[[UnitOfWork], Awaitable[Any]]) -> Any:
        """A command that succeeds."""
        return await command(self.transactions, use_case)

    async def rows(self, statement: str) -> list[Any]:
        """Straight from the tables."""
        async with self.engine.connect() as connection:
            return list((await connection.execute(text(statement))).all())


class Checkout(RuleBasedStateMachine):
    """One shop, from its opening to the day when everything has come to rest."""

    shop: ClassVar[Shop]

    def __init__(self) -> None:
        super().__init__()
        self.orders: list[tuple[str, str]] = []
        self.daemon: Daemon = self.shop.run(self.shop.open())

    @rule(
        member=st.sampled_from(MEMBERS),
        product=st.sampled_from(PRODUCTS),
        pieces=st.integers(1, 2),
        coupon=st.booleans(),
    )
    def place(self, member: str, product: str, pieces: int, coupon: bool) -> None:
        """An order, with a coupon or without; refused where there is not enough of either."""
        placed = self._command(
            lambda uow: ordering.place_order(
                uow,
                self.shop.neighbours,
                caller=Caller(member, frozenset({"customer"})),
                currency="EUR",
                lines=[(product, pieces)],
                shipping_info=SHIPPING_INFO,
                coupon_code=CODE if coupon else None,
            )
        )
        if placed is not None:
            self.orders.append((placed.id, member))

    @precondition(lambda self: self.orders)
    @rule(
        order=st.integers(0),
        used=st.sampled_from((0, 30, 90)),
        card=st.sampled_from(("tok_fine", "tok_fine", "tok_declined")),
    )
    def pay(self, order: int, used: int, card: str) -> None:
        """By card, by points, or both."""
        order_id, member = self.orders[order % len(self.orders)]
        self._command(
            lambda uow: ordering.pay_order(
                uow, order_id, caller=Caller(member, frozenset()), method="card", card_token=card, points=used
            )
        )

    @precondition(lambda self: self.orders)
    @rule(order=st.integers(0))
    def cancel(self, order: int) -> None:
        """Refused while a payment is in progress, and after shipping."""
        order_id, _ = self.orders[order % len(self.orders)]
        self._command(lambda uow: ordering.cancel_order(uow, order_id, caller=STAFF, reason="changed my mind"))

    @precondition(lambda self: self.orders)
    @rule(order=st.integers(0))
    def ship(self, order: int) -> None:
        """Refused unless it is paid."""
        order_id, _ = self.orders[order % len(self.orders)]
        self._command(lambda uow: ordering.ship_order(uow, order_id, carrier="Snail", tracking_number="1"))

    @precondition(lambda self: self.orders)
    @rule(order=st.integers(0))
    def expire(self, order: int) -> None:
        """What the scheduled job does with an order that is old enough, also while its payment is in progress."""
        order_id, _ = self.orders[order % len(self.orders)]

        async def expired(uow: UnitOfWork) -> None:
            found = await uow.repository(Orders).get(order_id)
            if found.status is OrderStatus.PAYMENT_WAITING:
                found.expire(at=now())

        self.shop.run(self.daemon.steps.take(None, expired))
        self._read()

    @precondition(lambda self: self.daemon.startable())
    @rule(which=st.integers(0), steps=st.integers(1, 4))
    def react(self, which: int, steps: int) -> None:
        """Some reactions get their next event, and handle it up to its end or to the gateway."""
        for _ in range(steps):
            startable = self.daemon.startable()
            if startable:
                self.shop.run(self.daemon.start(startable[which % len(startable)]))
                self._read()

    @precondition(lambda self: self.daemon.bank.calls)
    @rule(which=st.integers(0), how=st.sampled_from(("answered", "answered", "answer lost", "not reached")))
    def answer(self, which: int, how: Any) -> None:
        """The gateway answers somebody, out of turn; or does as it is asked, and the answer is lost; or is down."""
        self.shop.run(self.daemon.answer(which % len(self.daemon.bank.calls), how))
        self._read()

    @precondition(lambda self: self.daemon.bank.calls)
    @rule(which=st.integers(0), after=st.booleans())
    def kill(self, which: int, after: bool) -> None:
        """The daemon dies while it asks the gateway, which had done it, or had not."""
        self.shop.run(self.daemon.kill(which % len(self.daemon.bank.calls), after_it_was_done=after))

    @precondition(lambda self: self.daemon.repeatable())
    @rule(which=st.integers(0), events=st.integers(1, 3))
    def repeat(self, which: int, events: int) -> None:
        """What a reaction has done comes again."""
        repeatable = self.daemon.repeatable()
        self.daemon.repeat(repeatable[which % len(repeatable)], events)

    def teardown(self) -> None:
        """Everything comes to rest, and is counted."""
        try:
            self.shop.run(self.daemon.until_idle())
            self.shop.run(self._count())
        finally:
            self.shop.run(self.daemon.stop())

    def _command(self, use_case: Callable[[UnitOfWork], Awaitable[Any]]) -> Any:
        try:
            return self.shop.run(self.shop.command(use_case))
        except CommandRefused:
            return None
        finally:
            self._read()

    def _read(self) -> None:
        self.shop.run(self.daemon.read())

    async def _count(self) -> None:
        orders = await self.shop.rows(
            "SELECT order_id, member_id, status, payment_id, payment_status, payment_amount, payment_points FROM orders"
        )
        stands = [order for order in orders if order.payment_status == "APPROVED"]
        assert {order.payment_status for order in orders} <= {None, "APPROVED", "DECLINED", "REFUNDED"}
        self._count_money(stands)
        await self._count_stock(orders)
        await self._count_points(stands)
        await self._count_coupons(orders)
        self._count_events(orders)

    def _count_money(self, stands: list[Any]) -> None:
        due = {order.payment_id: order.payment_amount for order in stands if order.payment_amount > 0}
        assert self.daemon.bank.kept == due

    async def _count_stock(self, orders: list[Any]) -> None:
        lines = await self.shop.rows("SELECT order_id, product_id, quantity FROM order_lines")
        open_orders = {order.order_id for order in orders if order.status != "CANCELED"}
        left = {row.product_id: row.available for row in await self.shop.rows("SELECT * FROM product_stock")}
        for product_id in PRODUCTS:
            taken = sum(
                line.quantity for line in lines if line.product_id == product_id and line.order_id in open_orders
            )
            assert left[product_id] + taken == STOCK

    async def _count_points(self, stands: list[Any]) -> None:
        balances = {row.member_id: row.balance for row in await self.shop.rows("SELECT * FROM points_accounts")}
        entered = {
            row.member_id: row.sum
            for row in await self.shop.rows(
                "SELECT member_id, sum(points)::bigint FROM points_ledger GROUP BY member_id"
            )
        }
        used = {
            member: sum(order.payment_points for order in stands if order.member_id == member) for member in MEMBERS
        }
        assert balances == entered == {member: CHARGED_POINTS - used[member] for member in MEMBERS}

    async def _count_coupons(self, orders: list[Any]) -> None:
        held = await self.shop.rows("SELECT coupon_id, order_id FROM issued_coupons WHERE order_id IS NOT NULL")
        uses = {row.order_id: row.coupon_id for row in await self.shop.rows("SELECT * FROM coupon_uses")}
        # Held by an order that stands and was not declined: one that was gives it back until it is paid again.
        holders = {
            o.order_id
            for o in orders
            if o.order_id in uses and o.status != "CANCELED" and o.payment_status != "DECLINED"
        }
        assert {row.order_id: row.coupon_id for row in held} == {order_id: uses[order_id] for order_id in holders}
        assert len(await self.shop.rows("SELECT 1 FROM issued_coupons")) == COUPONS_EACH * len(MEMBERS)

    def _count_events(self, orders: list[Any]) -> None:
        log = self.daemon.log
        paid = [envelope.aggregate_id for envelope in events_named(log, "OrderPaid")]
        refunded = [envelope.aggregate_id for envelope in events_named(log, "RefundCompleted")]
        assert len(set(paid)) == len(paid)
        assert sorted(refunded) == sorted(
            order.order_id for order in orders if order.order_id in paid and order.status == "CANCELED"
        )


@pytest.fixture
def shop(settings: Settings) -> Iterator[None]:
    """The shop that the machine runs in."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        Checkout.shop = Shop(settings, runner)
        yield
        Checkout.shop.run(Checkout.shop.engine.dispose())


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("shop")
def test_money_stock_coupons_and_points_add_up_whatever_happens_to_the_saga() -> None:
    run_state_machine_as_test(Checkout, settings=LATELY)


async def _always_uncertain_is_forgotten(uow: UnitOfWork, payment_id: str) -> bool:
    return False


PLANTED: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "a payment is refunded without a look whether it was rolled back": lambda patch: patch.setattr(
        Payment, "is_refundable", property(lambda _: False)
    ),
    "a charge that nobody knows of is never voided": lambda patch: patch.setattr(
        payments, "is_to_be_voided", _always_uncertain_is_forgotten
    ),
}


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize("bug", PLANTED)
def test_a_planted_bug_is_found(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    PLANTED[bug](monkeypatch)

    with pytest.raises(AssertionError):
        run_state_machine_as_test(Checkout, settings=UNTIL_FOUND)
