"""Points account: how many points a member has, and the latest changes.

Shape:   one document per member, see `PointsAccount`; ``entries`` are the newest 100, the newest first.
Units:   points; in an entry what the balance changed by, so below zero for what was used. ``charged``, ``used`` and
         ``returned`` are sums over all time: ``balance = charged - used + returned``.
Source:  every event of the account. `PointsRejected` changes no balance, and is no entry.
"""

import msgspec

from events.envelope import Envelope
from events.points import PointsCharged, PointsRejected, PointsReturned, PointsUsed
from events.values import Value
from views.kit import Document, Projection
from views.times import rfc3339

MOST_ENTRIES = 100


class Entry(Value, frozen=True, kw_only=True):
    """One change of the balance, and what it then was."""

    kind: str
    points: int
    balance: int
    order_id: str | None = None
    payment_id: str | None = None
    reason: str | None = None
    at: str


class PointsAccount(Document, frozen=True, kw_only=True):
    """A member's points, as they and the shop's staff see them."""

    balance: int = 0
    version: int = 0
    charged: int = 0
    used: int = 0
    returned: int = 0
    entries: tuple[Entry, ...] = ()
    updated_at: str | None = None


view = Projection(PointsAccount, name="points_account", version=1)


@view.on(PointsCharged)
def charge(account: PointsAccount, event: PointsCharged, envelope: Envelope) -> PointsAccount:
    """Points came."""
    entry = Entry(
        kind="charged",
        points=event.points,
        balance=event.balance,
        reason=event.reason,
        at=rfc3339(envelope.occurred_at),
    )
    return _after(account, envelope, entry, charged=account.charged + event.points)


@view.on(PointsUsed)
def use(account: PointsAccount, event: PointsUsed, envelope: Envelope) -> PointsAccount:
    """A payment took some."""
    entry = Entry(
        kind="used",
        points=-event.points,
        balance=event.balance,
        order_id=event.order_id,
        payment_id=event.payment_id,
        at=rfc3339(envelope.occurred_at),
    )
    return _after(account, envelope, entry, used=account.used + event.points)


@view.on(PointsRejected)
def reject(account: PointsAccount, event: PointsRejected, envelope: Envelope) -> PointsAccount:
    """A payment wanted more than there were: nothing to see but the version."""
    return msgspec.structs.replace(
        account,
        balance=event.balance,
        version=envelope.aggregate_version,
        updated_at=rfc3339(envelope.occurred_at),
    )


@view.on(PointsReturned)
def give_back(account: PointsAccount, event: PointsReturned, envelope: Envelope) -> PointsAccount:
    """What a payment had taken came back."""
    entry = Entry(
        kind="returned",
        points=event.points,
        balance=event.balance,
        order_id=event.order_id,
        payment_id=event.payment_id,
        reason=event.reason,
        at=rfc3339(envelope.occurred_at),
    )
    return _after(account, envelope, entry, returned=account.returned + event.points)


def _after(account: PointsAccount, envelope: Envelope, entry: Entry, **sums: int) -> PointsAccount:
    return msgspec.structs.replace(
        account,
        balance=entry.balance,
        version=envelope.aggregate_version,
        entries=(entry, *account.entries[: MOST_ENTRIES - 1]),
        updated_at=entry.at,
        **sums,
    )
