"""What the repositories of all contexts share: the aggregates of this transaction, and the guard on their version."""

from collections.abc import Sequence
from functools import cache
from typing import Any, Generic, TypeVar

from sqlalchemy import Insert, Table, bindparam, insert, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from command.aggregate import Aggregate
from command.errors import ConcurrentUpdate

A = TypeVar("A", bound=Aggregate)


@cache
def _insert_into(table: Table) -> Insert:
    # Made once: making it takes a good part of what running it does.
    return insert(table)


class AggregateRepository(Generic[A]):
    """An identity map that saves each changed aggregate once, in bulk: one statement for the new, one for the rest.

    A subclass names its ``table`` (primary key and ``version`` among its columns), and says how a row is made.
    """

    table: Table
    key: str

    def __init__(self, connection: AsyncConnection) -> None:
        self.connection = connection
        self._touched: dict[str, A] = {}

    def add(self, aggregate: A) -> None:
        """Take in a new aggregate, to be inserted."""
        self._touched[aggregate.id] = aggregate

    def loaded(self, aggregate: A) -> A:
        """Take in what a look found; where it was loaded or added before, that one: a second look must not lose what
        was changed since the first."""
        return self._touched.setdefault(aggregate.id, aggregate)

    def touched(self) -> Sequence[A]:
        """Aggregates that were loaded or added, in that order."""
        return list(self._touched.values())

    def row(self, aggregate: A) -> dict[str, Any]:
        """The aggregate as a row of its table."""
        raise NotImplementedError

    async def save(self) -> None:
        """Insert the new, update the changed where the stored version is still the one that was loaded."""
        changed = [aggregate for aggregate in self._touched.values() if aggregate.recorded]
        new = [aggregate for aggregate in changed if aggregate.stored_version == 0]
        if new:
            await self.insert(new)
        for aggregate in changed:
            if aggregate.stored_version > 0:
                await self._update(aggregate)

    async def insert(self, aggregates: Sequence[A]) -> None:
        """Write aggregates that no row exists of. Raises `ConcurrentUpdate` where there is one by now.

        The command is then run again, and finds it. Where an id is the caller's to choose, and that is no race but a
        refusal, the subclass says so.
        """
        rows = [self.row(aggregate) for aggregate in aggregates]
        try:
            # A list of one is sent as a batch: a statement that is prepared, and described, for that one alone.
            await self.connection.execute(_insert_into(self.table), rows if len(rows) > 1 else rows[0])
        except IntegrityError as error:
            if f'"pk_{self.table.name}"' in str(error.orig):
                ids = ", ".join(aggregate.id for aggregate in aggregates)
                raise ConcurrentUpdate(aggregate=type(aggregates[0]).__name__, id=ids) from None
            raise

    async def _update(self, aggregate: A) -> None:
        row = self.row(aggregate)
        guard = self.table.c[self.key] == bindparam("guarded_key")
        statement = (
            update(self.table)
            .where(guard, self.table.c.version == bindparam("guarded_version"))
            .values({name: bindparam(name) for name in row if name != self.key})
        )
        row.pop(self.key)
        result = await self.connection.execute(
            statement, {**row, "guarded_key": aggregate.id, "guarded_version": aggregate.stored_version}
        )
        if result.rowcount != 1:
            raise ConcurrentUpdate(aggregate=type(aggregate).__name__, id=aggregate.id)
