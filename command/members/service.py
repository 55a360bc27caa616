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


async def change_password(uow: UnitOfWork, member_id: str, *, current: str, new: str) -> Member:
    """Replace a password. Raises `NotFound`, `StaleVersion`, `WrongPassword`."""
    member = uow.as_expected(await uow.repository(Members).get(member_id))
    if not await password_fits(current, member.password_hash):
        raise WrongPassword
    member.change_password(await hash_password(new), at=now())
    return member


async def authenticated(uow: UnitOfWork, *, email: str, password: str) -> Member | None:
    """The member whose e-mail address and password these are."""
    # What Postgres cannot hold belongs to nobody; it is to take as long as any other.
    storable = email.isprintable()
    member = await uow.repository(Members).with_email(normalized_email(email)) if storable else None
    # The transaction would otherwise stay open, and its connection taken, while argon2 works.
    await uow.connection.rollback()
    fits = await password_fits(password, member.password_hash if member else None)
    return member if member is not None and fits else None
