"""Use cases of the members context."""

from datetime import timedelta

from command.members import verification
from command.members.model import (
    EmailTaken,
    Member,
    TooManyVerificationMails,
    UnknownVerificationToken,
    WrongPassword,
    normalized_email,
)
from command.members.passwords import hash_password, password_fits
from command.members.storage import Members, Verifications
from command.members.verification import LIFETIME, MOST_MAILS, Issued
from command.unit_of_work import UnitOfWork
from runtime.clock import now
from runtime.ids import new_id


async def register_member(uow: UnitOfWork, *, email: str, name: str, password_hash: str) -> Member:
    """Sign somebody up. Raises `EmailTaken`."""
    members = uow.repository(Members)
    email = normalized_email(email)
    if await members.with_email(email) is not None:
        raise EmailTaken
    member = Member.register(new_id(), email=email, name=name, password_hash=password_hash, at=now())
    members.add(member)
    return member


async def password_holder(uow: UnitOfWork, member_id: str) -> Member:
    """Whose password is to be changed. Raises `NotFound`, `StaleVersion`."""
    return uow.as_expected(await uow.repository(Members).get(member_id))


async def new_password_hash(member: Member, *, current: str, new: str) -> str:
    """The hash of the new password. Takes argon2's time, and needs no transaction. Raises `WrongPassword`."""
    if not await password_fits(current, member.password_hash):
        raise WrongPassword
    return await hash_password(new)


async def change_password(uow: UnitOfWork, holder: Member, *, new_hash: str) -> Member:
    """Replace the password that ``holder`` had. Raises `NotFound`, `StaleVersion`, `WrongPassword`."""
    member = await password_holder(uow, holder.id)
    if member.password_hash != holder.password_hash:
        # It was changed while argon2 worked: what was found right is not the current password any more.
        raise WrongPassword
    member.change_password(new_hash, at=now())
    return member


async def member_with(uow: UnitOfWork, *, email: str) -> Member | None:
    """Whoever has this e-mail address."""
    # What Postgres cannot hold belongs to nobody.
    return await uow.repository(Members).with_email(normalized_email(email)) if email.isprintable() else None


async def rename_member(uow: UnitOfWork, member_id: str, *, name: str) -> Member:
    """Another name, for orders to come. Raises `NotFound`, `StaleVersion`."""
    member = uow.as_expected(await uow.repository(Members).get(member_id))
    member.rename(name, at=now())
    return member


async def request_verification(uow: UnitOfWork, member_id: str) -> Member:
    """Another mail. Raises `NotFound`, `StaleVersion`, `EmailAlreadyVerified`, `TooManyVerificationMails`."""
    member = uow.as_expected(await uow.repository(Members).get(member_id))
    member.request_verification(at=now())
    if await uow.repository(Verifications).mails_to(member_id, now()) >= MOST_MAILS:
        raise TooManyVerificationMails(mails=MOST_MAILS, hours=LIFETIME // timedelta(hours=1))
    return member


async def issue_verification(uow: UnitOfWork, member_id: str, *, event_id: str) -> Issued | None:
    """A token to be sent because of this event; none where that is not needed, or would be too much."""
    member = await uow.repository(Members).get(member_id)
    tokens = uow.repository(Verifications)
    # Asked again here: requests that were recorded while mails waited had no token yet to be counted.
    if member.email_verified or await tokens.mails_to(member_id, now(), besides=event_id) >= MOST_MAILS:
        return None
    token = verification.new_token()
    await tokens.open(
        verification.hash_of(token),
        member_id=member_id,
        email=member.email,
        event_id=event_id,
        expires_at=now() + LIFETIME,
    )
    return Issued(token, member.name, member.email)


async def verify_email(uow: UnitOfWork, token: str) -> Member:
    """The holder of the token reads mail at their address. Raises `UnknownVerificationToken`, `StaleVersion`."""
    tokens = uow.repository(Verifications)
    member_id = await tokens.holder_of(verification.hash_of(token), now())
    if member_id is None:
        raise UnknownVerificationToken
    member = uow.as_expected(await uow.repository(Members).get(member_id))
    member.verify_email(at=now())
    await tokens.use_up(member_id, now())
    return member
