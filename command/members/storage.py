"""Tables and statements of the members context."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, Table, Text, bindparam, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from command.aggregate import Aggregate
from command.database import Moment, metadata
from command.errors import NotFound
from command.members.model import EmailTaken, Member
from command.storage import AggregateRepository

members = Table(
    "members",
    metadata,
    Column("member_id", Text, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("email", Text, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("password_hash", Text),
    Column("email_verified", Boolean, nullable=False, server_default="false"),
)

email_verifications = Table(
    "email_verifications",
    metadata,
    Column("token_hash", Text, primary_key=True),
    Column("member_id", Text, nullable=False, index=True),
    Column("email", Text, nullable=False),
    Column("event_id", Text, nullable=False),
    Column("expires_at", Moment, nullable=False, index=True),
    Column("used_at", Moment),
)

_NAME = select(members.c.name).where(members.c.member_id == bindparam("member_id"))
_IS_ADDRESS_OF_ITS_MEMBER = (members.c.member_id == email_verifications.c.member_id) & (
    members.c.email == email_verifications.c.email
)


class Members(AggregateRepository[Member]):
    """The members of the shop."""

    table = members
    key = "member_id"

    async def get(self, member_id: str) -> Member:
        """Raises `NotFound`."""
        found = await self._find(members.c.member_id == member_id)
        if found is None:
            raise NotFound(what="member")
        return found

    async def with_email(self, email: str) -> Member | None:
        """Whoever has this (normalized) address."""
        return await self._find(members.c.email == email)

    async def name_of(self, member_id: str) -> str | None:
        """The name alone."""
        name: str | None = await self.connection.scalar(_NAME, {"member_id": member_id})
        return name

    async def existing(self, member_ids: Sequence[str]) -> set[str]:
        """Those of these ids that are members."""
        rows = await self.connection.scalars(select(members.c.member_id).where(members.c.member_id.in_(member_ids)))
        return set(rows)

    async def insert(self, aggregates: Sequence[Member]) -> None:
        """Raises `EmailTaken` where an address belongs to somebody."""
        try:
            await super().insert(aggregates)
        except IntegrityError as error:
            if "uq_members_email" in str(error.orig):
                raise EmailTaken from None
            raise

    def row(self, aggregate: Member) -> dict[str, Any]:
        """The member as a row."""
        return {
            "member_id": aggregate.id,
            "version": aggregate.version,
            "email": aggregate.email,
            "name": aggregate.name,
            "password_hash": aggregate.password_hash,
            "email_verified": aggregate.email_verified,
        }

    async def _find(self, condition: Any) -> Member | None:
        row = (await self.connection.execute(select(members).where(condition))).mappings().first()
        if row is None:
            return None
        return self.loaded(
            Member(
                id=row["member_id"],
                version=row["version"],
                email=row["email"],
                name=row["name"],
                password_hash=row["password_hash"],
                email_verified=row["email_verified"],
            )
        )


class Verifications:
    """Tokens that were sent to confirm addresses, by their hashes."""

    def __init__(self, connection: AsyncConnection) -> None:
        self.connection = connection

    def touched(self) -> Sequence[Aggregate]:
        """A token is no aggregate; what becomes of it is told by its member's events."""
        return ()

    async def save(self) -> None:
        """Nothing waits to be written."""

    async def open(self, token_hash: str, *, member_id: str, email: str, event_id: str, expires_at: datetime) -> None:
        """Keep a token that is about to be sent, because of this event."""
        row = {
            "token_hash": token_hash,
            "member_id": member_id,
            "email": email,
            "event_id": event_id,
            "expires_at": expires_at,
        }
        await self.connection.execute(insert(email_verifications), row)

    async def holder_of(self, token_hash: str, at: datetime) -> str | None:
        """The member whose token this is, if it is good at that moment."""
        member_id: str | None = await self.connection.scalar(
            select(email_verifications.c.member_id)
            # It proves the address that it was sent to, and no other that the member might have by now.
            .join(members, onclause=_IS_ADDRESS_OF_ITS_MEMBER)
            .where(
                email_verifications.c.token_hash == token_hash,
                email_verifications.c.used_at.is_(None),
                email_verifications.c.expires_at > at,
            )
        )
        return member_id

    async def mails_to(self, member_id: str, at: datetime, *, besides: str | None = None) -> int:
        """For how many events, other than ``besides``, the member was sent tokens that have not expired since."""
        others = email_verifications.c.event_id.is_distinct_from(besides)
        mails: int | None = await self.connection.scalar(
            select(func.count(email_verifications.c.event_id.distinct())).where(
                email_verifications.c.member_id == member_id, email_verifications.c.expires_at > at, others
            )
        )
        return mails or 0

    async def use_up(self, member_id: str, at: datetime) -> None:
        """None of the member's tokens is good any more."""
        await self.connection.execute(
            update(email_verifications)
            .where(email_verifications.c.member_id == member_id, email_verifications.c.used_at.is_(None))
            .values(used_at=at)
        )

    async def forget(self, expired_at: datetime) -> None:
        """Drop those that had expired by then."""
        await self.connection.execute(delete(email_verifications).where(email_verifications.c.expires_at <= expired_at))
