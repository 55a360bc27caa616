"""What a member records, and what they refuse."""

import pytest

from command.members.model import EmailAlreadyVerified, Member, UnknownVerificationToken
from events.envelope import DomainEvent
from events.members import EmailVerificationRequested, MemberEmailVerified, MemberRegistered, MemberRenamed
from tests.builders import LATER, PLACED_AT

REGISTERED = MemberRegistered(email="ann@example.com", name="Ann")
VERIFIED = MemberEmailVerified(email="ann@example.com")


def ann() -> Member:
    """Just signed up."""
    return Member.register("m-1", email="ann@example.com", name="Ann", password_hash=None, at=PLACED_AT)


def recorded(member: Member) -> list[DomainEvent]:
    """What has happened to a member."""
    return [pending.event for pending in member.recorded]


def test_an_address_is_verified_once() -> None:
    member = ann()
    member.verify_email(at=LATER)

    with pytest.raises(UnknownVerificationToken):
        member.verify_email(at=LATER)

    assert (member.email_verified, recorded(member)) == (True, [REGISTERED, VERIFIED])


def test_another_mail_can_be_asked_for_until_the_address_is_verified() -> None:
    member = ann()
    member.request_verification(at=LATER)
    member.verify_email(at=LATER)

    with pytest.raises(EmailAlreadyVerified):
        member.request_verification(at=LATER)

    assert recorded(member) == [REGISTERED, EmailVerificationRequested(email="ann@example.com"), VERIFIED]


def test_a_renamed_member_goes_by_the_new_name() -> None:
    member = ann()
    member.rename("Ann Archer", at=LATER)

    assert (member.name, recorded(member)) == ("Ann Archer", [REGISTERED, MemberRenamed(name="Ann Archer")])
