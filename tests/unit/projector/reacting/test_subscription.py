"""Which events a reaction takes, in which sequence, and what cannot be told of a broken one."""

from typing import Any

import msgspec

from events.catalog import ProductDetailsChanged, StockAdjusted
from events.envelope import Envelope
from events.reaction import Ports, Reaction
from projector.feed import Undecodable
from projector.reacting.subscription import Subscription
from tests.unit.views.given import an_envelope, happened, numbered

ADJUSTED = StockAdjusted(delta=1, reason="count")


def a_subscription(**options: Any) -> Subscription:
    """To adjustments."""
    reaction = Reaction("ship")

    async def handle(_: Envelope, __: Ports) -> None:
        return

    reaction.on(StockAdjusted, **options)(handle)
    return Subscription(reaction)


def broken(payload: str) -> Envelope:
    """An adjustment that cannot be decoded."""
    event = Undecodable(event_type="StockAdjusted", reason="not of its type", payload=payload)
    return an_envelope(event, "product", "p-1", event_type="StockAdjusted")


def test_it_takes_what_it_subscribed_to_and_nothing_else() -> None:
    changed = ProductDetailsChanged(name="Pen", category="things", unit_price=1)
    events = numbered(happened(ADJUSTED), happened(changed))
    assert [a_subscription().takes(one) for one in [*events, broken("{}")]] == [True, False, True]


def test_a_sequence_is_the_aggregate_or_the_key() -> None:
    [event] = numbered(happened(ADJUSTED))
    assert a_subscription().pending(event).sequence == "p-1"
    assert a_subscription(key=lambda adjusted: adjusted.reason).pending(event).sequence == "count"


def test_a_broken_event_is_unfit_and_stays_in_its_sequence_where_that_can_be_told() -> None:
    by_reason = a_subscription(key=lambda adjusted: adjusted.reason)
    found = {payload: by_reason.pending(broken(payload)) for payload in ('{"reason": "count"}', "{}", "no json")}
    assert [one.sequence for one in found.values()] == ["count", "p-1", "p-1"]
    assert {repr(one.unfit) for one in found.values()} == {"ValueError('not of its type')"}


def test_a_key_that_fails_is_this_events_failure() -> None:
    [event] = numbered(happened(ADJUSTED))
    pending = a_subscription(key=lambda adjusted: adjusted.nothing).pending(event)
    assert (pending.sequence, type(pending.unfit)) == ("p-1", AttributeError)


def test_an_event_that_is_answered_no_more_is_unfit() -> None:
    [event] = numbered(happened(ADJUSTED))
    renamed = msgspec.structs.replace(event, event_type="StockCounted")
    assert isinstance(a_subscription().pending(renamed).unfit, LookupError)
