"""The member: an e-mail address that is theirs alone, a name, a password that only its hash is kept of."""

from dataclasses import dataclass
from datetime import datetime

from command.aggregate import Aggregate
from command.errors import InvalidCommand, RuleBroken
from events.members import (
    EmailVerificationRequested,
    MemberEmailVerified,
    MemberPasswordChanged,
    MemberRegistered,
    MemberRenamed,
)


class EmailTaken(RuleBroken):
    """A member with this e-mail address exists."""


class WrongPassword(InvalidCommand):
    """The current password is not right."""


class UnknownVerificationToken(InvalidCommand):
    """No such token is open: it was never sent, has expired, or it or another of its member has been used."""


class EmailAlreadyVerified(RuleBroken):
    """The e-mail address has been confirmed."""


class TooManyVerificationMails(RuleBroken):
    """{mails} mails were sent within {hours} hours; one of them must have arrived, or none will."""


@dataclass(kw_only=True, eq=False)
class Member(Aggregate):
    """One member. ``password_hash`` is ``None`` for one who was imported and never signed up: no password fits."""

    email: str
    name: str
    password_hash: str | None
    email_verified: bool = False

    @classmethod
    def register(cls, member_id: str, *, email: str, name: str, password_hash: str | None, at: datetime) -> "Member":
        """Somebody signs up."""
        member = cls(id=member_id, email=email, name=name, password_hash=password_hash)
        member.record(MemberRegistered(email=email, name=name), at)
        return member

    def change_password(self, password_hash: str, *, at: datetime) -> None:
        """Replace the password; that the old one was right is the use case's to check."""
        self.password_hash = password_hash
        self.record(MemberPasswordChanged(), at)

    def rename(self, name: str, *, at: datetime) -> None:
        """Go by another name from now on."""
        self.name = name
        self.record(MemberRenamed(name=name), at)

    def request_verification(self, *, at: datetime) -> None:
        """Ask for another mail. Raises `EmailAlreadyVerified`."""
        if self.email_verified:
            raise EmailAlreadyVerified
        self.record(EmailVerificationRequested(email=self.email), at)

    def verify_email(self, *, at: datetime) -> None:
        """Whoever holds a token reads mail at the address. Raises `UnknownVerificationToken` where that was known."""
        if self.email_verified:
            raise UnknownVerificationToken
        self.email_verified = True
        self.record(MemberEmailVerified(email=self.email), at)


def normalized_email(email: str) -> str:
    """The form in which addresses are compared: without surrounding space, in lower case."""
    return email.strip().lower()
