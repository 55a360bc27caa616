"""Tables and statements of the members context."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import BigInteger, Column, Table, Text, select
from sqlalchemy.exc import IntegrityError

from command.database import metadata
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
        name: str | None = await self.connection.scalar(select(members.c.name).where(members.c.member_id == member_id))
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
            )
        )
