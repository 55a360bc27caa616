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


@published("member")
class EmailVerificationRequested(DomainEvent, frozen=True, kw_only=True):
    """The member asked for another mail to confirm their address with."""

    email: str


@published("member")
class MemberEmailVerified(DomainEvent, frozen=True, kw_only=True):
    """Whoever reads mail at this address is the member."""

    email: str


@published("member")
class MemberRenamed(DomainEvent, frozen=True, kw_only=True):
    """The member goes by another name; orders placed before keep the old one."""

    name: str
