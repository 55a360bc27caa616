"""Sales statistics: what was placed, paid and canceled, per hour, day and month of the business time zone.

Shape:   one document of counters per granularity, group, period and key; its id is those four, ``|`` between them:
         ``day|product|2026-11-21|85123A``. A range of periods is a range of ids, so no other index is needed.
         Groups: ``none`` (the key is empty), ``product``, ``category``. Weeks are summed from days when asked for.
Units:   amounts in minor units after discount; ``units`` in pieces; orders count once per group key that they hold.
Source:  `OrderPlaced`, `OrderPaid`, `OrderCanceled` (only of orders that had been paid), each at its own time.
"""

from collections.abc import Iterable

from events.envelope import Envelope
from events.ordering import Line, OrderCanceled, OrderPaid, OrderPlaced
from events.values import Value
from views.kit import AdditiveView, Bucket, Calendar, Document, Increments


class SalesCounters(Document, frozen=True, kw_only=True):
    """The counters of one document."""

    placed_orders: int = 0
    placed_amount: int = 0
    paid_orders: int = 0
    gross_sales: int = 0
    units: int = 0
    canceled_orders: int = 0
    canceled_amount: int = 0


class Measures(Value, frozen=True):
    """Which counters an event adds to."""

    orders: str
    amount: str
    units: str | None = None


def document_id(granularity: str, group: str, period: str, key: str) -> str:
    """The id of a document, or, with an empty period and key, the prefix of all of a granularity and group."""
    return f"{granularity}|{group}|{period}|{key}" if period else f"{granularity}|{group}|"


def _roll_up(bucket: Bucket) -> Iterable[str]:
    hour, group, key = bucket
    return (
        document_id("hour", group, hour, key),
        document_id("day", group, hour[:10], key),
        document_id("month", group, hour[:7], key),
    )


view = AdditiveView(name="sales_statistics", version=1, roll_up=_roll_up)

_PLACED = Measures("placed_orders", "placed_amount")
_PAID = Measures("paid_orders", "gross_sales", "units")
_CANCELED = Measures("canceled_orders", "canceled_amount")


@view.on(OrderPlaced)
def place(event: OrderPlaced, envelope: Envelope, calendar: Calendar) -> Iterable[tuple[Bucket, Increments]]:
    """Booked when it was placed."""
    return _book(calendar.hour(envelope.occurred_at), event.lines, _PLACED)


@view.on(OrderPaid)
def pay(event: OrderPaid, envelope: Envelope, calendar: Calendar) -> Iterable[tuple[Bucket, Increments]]:
    """Booked when it was paid."""
    return _book(calendar.hour(envelope.occurred_at), event.lines, _PAID)


@view.on(OrderCanceled)
def cancel(event: OrderCanceled, envelope: Envelope, calendar: Calendar) -> Iterable[tuple[Bucket, Increments]]:
    """Booked when it was canceled, if it had been paid: only what was sold can be taken back."""
    if not event.was_paid:
        return ()
    return _book(calendar.hour(envelope.occurred_at), event.lines, _CANCELED)


def _book(hour: str, lines: tuple[Line, ...], measures: Measures) -> Iterable[tuple[Bucket, Increments]]:
    sums: dict[tuple[str, str], list[int]] = {("none", ""): [0, 0]}
    for line in lines:
        amount = line.amount - line.discount
        for group in (("none", ""), ("product", line.product_id), ("category", line.category)):
            held = sums.setdefault(group, [0, 0])
            held[0] += amount
            held[1] += line.quantity
    for (group_name, key), (amount, units) in sums.items():
        increments = {measures.orders: 1, measures.amount: amount}
        if measures.units is not None:
            increments[measures.units] = units
        yield (hour, group_name, key), increments
