"""The kit of the views' tests: ``given(view, e1, e2).then(key, units=4)``.

It folds in the plainest way there is, one event after the other, so that a view's test says nothing of batches,
caches and stores. What `then` is not told has to have its default: the whole document is compared.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from events.envelope import DomainEvent, Envelope, aggregate_type_of
from events.ordering import Line, OrderCanceled, Orderer, OrderPaid, OrderPlaced
from tests.builders import SHIPPING_INFO, a_line
from views.kit import AdditiveView, Calendar, Document, Projection

MOMENT = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
STAMP = "2026-03-02T09:00:00.000000Z"


class Happened(msgspec.Struct, frozen=True):
    """An event of one aggregate, at one moment."""

    event: DomainEvent
    aggregate_id: str
    at: datetime


def happened(event: DomainEvent, to: str | None = None, *, at: datetime = MOMENT) -> Happened:
    """By default something that happened to ``o-1``, ``p-1`` or ``m-1``, whichever it can happen to."""
    return Happened(event, to or f"{aggregate_type_of(event)[0]}-1", at)


def numbered(*events: DomainEvent | Happened, first_position: int = 1) -> list[Envelope]:
    """The events as the log holds them: consecutive positions, consecutive versions of each aggregate."""
    versions: Counter[tuple[str, str]] = Counter()
    envelopes = []
    for position, one in enumerate(events, first_position):
        what = one if isinstance(one, Happened) else happened(one)
        sequence = aggregate_type_of(what.event), what.aggregate_id
        versions[sequence] += 1
        envelopes.append(an_envelope(what.event, *sequence, position, versions[sequence], what.at))
    return envelopes


def an_envelope(
    event: DomainEvent,
    aggregate_type: str = "order",
    aggregate_id: str = "o-1",
    position: int = 1,
    aggregate_version: int = 1,
    at: datetime = MOMENT,
    *,
    event_type: str | None = None,
    snapshot: str | None = None,
) -> Envelope:
    """An envelope with everything that a test does not name filled in."""
    return Envelope(
        position=position,
        event_id=f"00000000-0000-7000-8000-{position:012d}",
        event_type=event_type or type(event).__name__,
        schema_version=1,
        aggregate_type=aggregate_type,
        aggregate_id=aggregate_id,
        aggregate_version=aggregate_version,
        occurred_at=at,
        recorded_at=at,
        correlation_id=None,
        causation_id=None,
        traceparent=None,
        snapshot=snapshot,
        event=event,
    )


def a_placed_order(*lines: Line, member_id: str = "m-1", discount_amount: int = 0) -> OrderPlaced:
    """An order of Ann's, of two pieces at 100 unless told otherwise."""
    lines = lines or (a_line(),)
    return OrderPlaced(
        orderer=Orderer(member_id, "Ann"),
        currency="EUR",
        lines=lines,
        total_amount=sum(line.amount for line in lines),
        discount_amount=discount_amount,
        shipping_info=SHIPPING_INFO,
    )


def a_paid_order(*lines: Line, member_id: str = "m-1", points: int = 0) -> OrderPaid:
    """The same order, paid."""
    lines = lines or (a_line(),)
    due = sum(line.amount - line.discount for line in lines)
    return OrderPaid(payment_id="pay-1", member_id=member_id, amount=due - points, points=points, lines=lines)


def a_canceled_order(*lines: Line, was_paid: bool, member_id: str = "m-1") -> OrderCanceled:
    """The same order, called off."""
    lines = lines or (a_line(),)
    refund = sum(line.amount - line.discount for line in lines) if was_paid else 0
    return OrderCanceled(
        reason="changed my mind",
        canceled_by=member_id,
        member_id=member_id,
        was_paid=was_paid,
        refund_amount=refund,
        lines=lines,
    )


class Given:
    """A view after some events."""

    def __init__(self, documents: dict[str, Any], empty: Any) -> None:
        self.documents = documents
        self._empty = empty

    def then(self, key: str, **fields: object) -> None:
        """The document of that key has these fields, and the default of every other."""
        assert self.documents[key] == self._empty(key, fields)

    def then_only(self, *keys: str) -> None:
        """There are these documents and no others."""
        assert sorted(self.documents) == sorted(keys)


def given(view: Projection[Any] | AdditiveView, *events: DomainEvent | Happened, zone: str = "UTC") -> Given:
    """The view after these events, in this order, and by the clocks of this zone."""
    envelopes = numbered(*events)
    if isinstance(view, Projection):
        return Given(_folded(view, envelopes), lambda key, fields: view.document(id=key, **fields))
    return Given(_added(view, envelopes, Calendar(ZoneInfo(zone))), lambda _, fields: fields)


def _folded(view: Projection[Any], envelopes: Iterable[Envelope]) -> dict[str, Document]:
    documents: dict[str, Document] = {}
    for envelope in envelopes:
        if type(envelope.event) not in view.folds:
            continue
        keys, fold = view.folds[type(envelope.event)]
        for key in [envelope.aggregate_id] if keys is None else sorted(keys(envelope.event)):
            documents[key] = fold(documents.get(key, view.document(id=key)), envelope.event, envelope)
    return documents


def _added(view: AdditiveView, envelopes: Iterable[Envelope], calendar: Calendar) -> dict[str, dict[str, int]]:
    documents: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for envelope in envelopes:
        if type(envelope.event) not in view.contributions:
            continue
        for bucket, increments in view.contributions[type(envelope.event)](envelope.event, envelope, calendar):
            for key in view.roll_up(bucket):
                for field, amount in increments.items():
                    documents[key][field] += amount
    return {key: dict(fields) for key, fields in documents.items()}
