"""Member profile: who a member is, and what they have bought.

Shape:   one document per member, see `MemberProfile`; also for buyers that an outside identity provider knows.
Units:   ``lifetime_value`` in minor units of ``currency``: what was paid for, less what was canceled afterwards.
Source:  the member's own events; `OrderPlaced`, `OrderPaid` and `OrderCanceled` of their orders.
"""

import msgspec

from events.envelope import Envelope
from events.members import (
    EmailVerificationRequested,
    MemberEmailVerified,
    MemberPasswordChanged,
    MemberRegistered,
    MemberRenamed,
)
from events.ordering import Line, OrderCanceled, OrderPaid, OrderPlaced
from events.values import Value
from views.kit import Document, Projection
from views.times import rfc3339


class LastOrder(Value, frozen=True):
    """The order placed last."""

    order_id: str
    placed_at: str
    total_amount: int


class MemberProfile(Document, frozen=True, kw_only=True):
    """A member as they, and the shop's staff, see them."""

    email: str | None = None
    email_verified: bool = False
    name: str = ""
    version: int = 0
    registered_at: str | None = None
    order_count: int = 0
    lifetime_value: int = 0
    currency: str | None = None
    last_order: LastOrder | None = None


view = Projection(MemberProfile, name="member_profile", version=2)


@view.on(MemberRegistered)
def register(member: MemberProfile, event: MemberRegistered, envelope: Envelope) -> MemberProfile:
    """Somebody signed up."""
    return msgspec.structs.replace(
        member,
        email=event.email,
        name=event.name,
        version=envelope.aggregate_version,
        registered_at=rfc3339(envelope.occurred_at),
    )


@view.on(MemberPasswordChanged)
def change_password(member: MemberProfile, event: MemberPasswordChanged, envelope: Envelope) -> MemberProfile:
    """Nothing to see but the version."""
    return msgspec.structs.replace(member, version=envelope.aggregate_version)


@view.on(EmailVerificationRequested)
def request_verification(member: MemberProfile, event: EmailVerificationRequested, envelope: Envelope) -> MemberProfile:
    """Nothing to see but the version."""
    return msgspec.structs.replace(member, version=envelope.aggregate_version)


@view.on(MemberEmailVerified)
def verify_email(member: MemberProfile, event: MemberEmailVerified, envelope: Envelope) -> MemberProfile:
    """The address is theirs."""
    return msgspec.structs.replace(
        member, email_verified=event.email == member.email, version=envelope.aggregate_version
    )


@view.on(MemberRenamed)
def rename(member: MemberProfile, event: MemberRenamed, envelope: Envelope) -> MemberProfile:
    """The name that they go by now."""
    return msgspec.structs.replace(member, name=event.name, version=envelope.aggregate_version)


@view.on(OrderPlaced, keys=lambda event: (event.orderer.member_id,))
def place(member: MemberProfile, event: OrderPlaced, envelope: Envelope) -> MemberProfile:
    """One more order; the last is the one with the latest time, which an import need not bring last."""
    placed = LastOrder(envelope.aggregate_id, rfc3339(envelope.occurred_at), event.total_amount)
    last = member.last_order
    if last is not None and (last.placed_at, last.order_id) > (placed.placed_at, placed.order_id):
        placed = last
    return msgspec.structs.replace(
        member,
        name=member.name or event.orderer.name,
        order_count=member.order_count + 1,
        currency=event.currency,
        last_order=placed,
    )


@view.on(OrderPaid, keys=lambda event: (event.member_id,))
def pay(member: MemberProfile, event: OrderPaid) -> MemberProfile:
    """What was bought counts when it is paid for."""
    return msgspec.structs.replace(member, lifetime_value=member.lifetime_value + _sales(event.lines))


@view.on(OrderCanceled, keys=lambda event: (event.member_id,))
def cancel(member: MemberProfile, event: OrderCanceled) -> MemberProfile:
    """What had been paid for and was canceled counts no more."""
    if not event.was_paid:
        return member
    return msgspec.structs.replace(member, lifetime_value=member.lifetime_value - _sales(event.lines))


def _sales(lines: tuple[Line, ...]) -> int:
    return sum(line.amount - line.discount for line in lines)
