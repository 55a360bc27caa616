"""The steps that reactions take in the domain: each a transaction of its own, caused by one event of the log.

A step is a use case like any other. It may find that there is nothing to do, because it was done before: then it
records nothing, and nothing is written. What it records carries the cause: its event's id, and what that was part of.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from sqlalchemy.exc import DBAPIError

from command.errors import ConcurrentUpdate
from command.outages import DATABASE_ERRORS, is_lost_race, is_not_now
from command.unit_of_work import Transactions, UnitOfWork
from events.envelope import Envelope
from events.reaction import NotNow
from runtime import tracing

T = TypeVar("T")

ATTEMPTS = 5
"""How often a step that lost a race is begun again before its reaction is told to come back later."""


class Steps:
    """Takes the steps of reactions and scheduled jobs."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    async def take(self, cause: Envelope | None, use_case: Callable[[UnitOfWork], Awaitable[T]]) -> T:
        """Run a use case to its commit; what it returned. Raises `NotNow` while the database cannot, or is contended.

        Never call the outside within: the transaction would hold its locks for as long as that takes.
        """
        for _ in range(ATTEMPTS):
            try:
                return await self._once(cause, use_case)
            except ConcurrentUpdate:
                continue
            except DATABASE_ERRORS as error:
                if isinstance(error, DBAPIError) and not is_not_now(error):
                    raise  # a bug of ours: it is to be seen as one
                if not (isinstance(error, DBAPIError) and is_lost_race(error)):
                    raise NotNow(f"Postgres: {type(error).__name__}") from error
        raise NotNow("others kept changing the same aggregate")

    async def _once(self, cause: Envelope | None, use_case: Callable[[UnitOfWork], Awaitable[T]]) -> T:
        async with self._transactions.begin() as uow:
            result = await use_case(uow)
            if cause is None:
                await uow.commit_what_there_is()
            else:
                await uow.commit_what_there_is(
                    correlation_id=cause.correlation_id,
                    causation_id=cause.event_id,
                    traceparent=tracing.traceparent(cause.traceparent),
                )
            return result
