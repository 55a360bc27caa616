"""A small shop to look at: products, members, and two weeks of orders in every status, written through the domain.

The same shop every time, apart from the dates, which end now. Loaded once, into an empty log only, in one
transaction: there is never half a demo shop.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from command.bootstrap import before_commit_handlers
from command.catalog.model import Product
from command.catalog.storage import Products, Stock
from command.members.model import Member
from command.members.passwords import hash_password
from command.members.storage import Members
from command.ordering.model import Order
from command.ordering.storage import Orders
from command.unit_of_work import Transactions, UnitOfWork
from events.ordering import RECORDED, Address, Line, Orderer, Receiver, ShippingInfo
from eventstore import Doorbell, EventLog, Sequencer
from runtime.clock import now
from runtime.ids import new_id
from runtime.postgres import make_engine, postgres_url
from runtime.settings import Settings

PASSWORD = "demo-password"  # noqa: S105  (published in the README: these accounts are for everybody)
DAYS = 14
STOCK = 100


@dataclass(frozen=True, slots=True)
class DemoProduct:
    """A product; ``unit_price`` in minor units."""

    product_id: str
    name: str
    category: str
    unit_price: int


@dataclass(frozen=True, slots=True)
class DemoMember:
    """A member, who can sign in with `PASSWORD`."""

    name: str
    email: str
    city: str


PRODUCTS = (
    DemoProduct("espresso-beans", "Espresso beans, 1 kg", "coffee", 1890),
    DemoProduct("filter-beans", "Filter roast, 500 g", "coffee", 1290),
    DemoProduct("decaf-beans", "Decaf, 500 g", "coffee", 1390),
    DemoProduct("sencha", "Sencha, 100 g", "tea", 990),
    DemoProduct("earl-grey", "Earl Grey, 100 g", "tea", 790),
    DemoProduct("rooibos", "Rooibos, 250 g", "tea", 690),
    DemoProduct("hand-grinder", "Hand grinder", "equipment", 7900),
    DemoProduct("kettle", "Gooseneck kettle", "equipment", 5900),
    DemoProduct("dripper", "Ceramic dripper", "equipment", 2400),
    DemoProduct("paper-filters", "Paper filters, 100 pieces", "equipment", 590),
    DemoProduct("cup", "Cup with saucer", "tableware", 1650),
    DemoProduct("teapot", "Cast iron teapot", "tableware", 4450),
)
MEMBERS = (
    DemoMember("Ann Archer", "ann@example.com", "Bristol"),
    DemoMember("Ben Okafor", "ben@example.com", "Leeds"),
    DemoMember("Choi Min-ji", "minji@example.com", "Seoul"),
    DemoMember("Dana Novak", "dana@example.com", "Brno"),
)

# What becomes of the orders, oldest first; the list begins anew until the two weeks are full.
FATES = ("delivered", "delivered", "canceled", "delivered", "declined", "delivered", "canceled unpaid", "delivered")
LATEST_FATES = (
    "delivering",
    "shipped",
    "declined",
    "paid",
    "shipped",
    "waiting",
    "canceled",
    "paid",
    "waiting",
    "paid",
)
ORDERS = 40


async def load_demo(settings: Settings) -> int:
    """Load the demo shop where nothing has ever happened; returns how many orders it has, 0 for none loaded."""
    url = postgres_url(settings)
    async with EventLog(url, "demo", pool_size=1) as log:
        await _sequence_what_waits(url)
        if await log.head() > 0:
            return 0
    password_hash = await hash_password(PASSWORD)
    engine = make_engine(url, "demo", pool_size=1)
    try:
        async with Doorbell(url) as doorbell, Transactions(engine, before_commit_handlers(), doorbell).begin() as uow:
            orders = _demo_shop(uow, settings.currency, password_hash, began_at=now() - timedelta(days=DAYS))
            await uow.commit()
    finally:
        await engine.dispose()
    return orders


async def _sequence_what_waits(url: str) -> None:
    """The log's head alone does not tell: events may have been written that no projector has put there yet."""
    sequencer = Sequencer(url)
    try:
        await sequencer.sequence()
    finally:
        await sequencer.close()


def _demo_shop(uow: UnitOfWork, currency: str, password_hash: str, *, began_at: datetime) -> int:
    _register_products(uow, currency, at=began_at)
    member_ids = _register_members(uow, password_hash, at=began_at)
    fates = _fates()
    # The last order is an hour old: no event of it lies in the future.
    apart = (timedelta(days=DAYS) - timedelta(hours=2)) / (len(fates) - 1)
    for number, fate in enumerate(fates):
        buyer = number * 7 % len(MEMBERS)
        order = Order.place(
            new_id(),
            orderer=Orderer(member_ids[buyer], MEMBERS[buyer].name),
            currency=currency,
            lines=_lines(number),
            shipping_info=_shipping_info(MEMBERS[buyer]),
            at=began_at + timedelta(hours=1) + number * apart,
        )
        _meet_fate(order, fate)
        uow.repository(Orders).add(order)
    return len(fates)


def _register_products(uow: UnitOfWork, currency: str, *, at: datetime) -> None:
    for demo in PRODUCTS:
        product = Product.register(
            demo.product_id,
            name=demo.name,
            category=demo.category,
            unit_price=demo.unit_price,
            currency=currency,
            stock=STOCK,
            at=at,
        )
        uow.repository(Products).add(product)
        uow.repository(Stock).open(demo.product_id, STOCK)


def _register_members(uow: UnitOfWork, password_hash: str, *, at: datetime) -> list[str]:
    registered = [
        Member.register(new_id(), email=demo.email, name=demo.name, password_hash=password_hash, at=at)
        for demo in MEMBERS
    ]
    for member in registered:
        uow.repository(Members).add(member)
    return [member.id for member in registered]


def _fates() -> Sequence[str]:
    older = ORDERS - len(LATEST_FATES)
    return [*(FATES * older)[:older], *LATEST_FATES]


def _lines(number: int) -> list[Line]:
    """One to three products, one to three pieces of each."""
    chosen = [PRODUCTS[(number * 5 + step * 3) % len(PRODUCTS)] for step in range(1 + number % 3)]
    return [
        Line(
            product_id=product.product_id,
            name=product.name,
            category=product.category,
            unit_price=product.unit_price,
            quantity=quantity,
            amount=product.unit_price * quantity,
        )
        for product, quantity in ((product, 1 + (number + at) % 3) for at, product in enumerate(chosen))
    ]


def _shipping_info(member: DemoMember) -> ShippingInfo:
    return ShippingInfo(Receiver(member.name, "+00 555 0100"), Address("00000", "1 Example Street", member.city))


def _meet_fate(order: Order, fate: str) -> None:
    minutes = _Minutes(order.placed_at)
    if fate == "waiting":
        return
    if fate == "canceled unpaid":
        order.cancel("Ordered by mistake.", canceled_by=order.orderer.member_id, at=minutes.after(15))
        return
    order.request_payment(new_id(), method=RECORDED, at=minutes.after(5))
    if fate == "declined":
        order.decline_payment("The card was declined.", at=minutes.after(1))
        return
    order.approve_payment(at=minutes.after(1))
    if fate == "canceled":
        order.cancel("Found it cheaper.", canceled_by=order.orderer.member_id, at=minutes.after(20))
    elif fate != "paid":
        _send(order, fate, minutes)


def _send(order: Order, fate: str, minutes: "_Minutes") -> None:
    order.ship(carrier="Example Post", tracking_number=f"EP{order.total_amount:08d}", at=minutes.after(30))
    if fate == "shipped":
        return
    order.start_delivery(at=minutes.after(24 * 60))
    if fate == "delivered":
        order.complete_delivery(at=minutes.after(6 * 60))


class _Minutes:
    """The order's own clock."""

    def __init__(self, started_at: datetime) -> None:
        self._at = started_at

    def after(self, minutes: int) -> datetime:
        """So many minutes later."""
        self._at += timedelta(minutes=minutes)
        return self._at
