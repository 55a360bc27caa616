"""Events of the members context. No password and no hash of one stands in any event."""

from events.envelope import DomainEvent, published


@published("member")
class MemberRegistered(DomainEvent, frozen=True, kw_only=True):
    """Somebody signed up."""

    email: str
    name: str


@published("member")
class MemberPasswordChanged(DomainEvent, frozen=True, kw_only=True):
    """The member has a new password."""
