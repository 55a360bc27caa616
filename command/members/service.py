"""Use cases of the members context."""

from command.members.model import EmailTaken, Member, WrongPassword, normalized_email
from command.members.passwords import hash_password, password_fits
from command.members.storage import Members
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
