"""Where HTTP meets the domain: the one place that commits, and the one table from refusals to statuses.

Routes describe input and output; `Commands.run` opens the unit of work, runs the use case, commits once, and turns
what happened into an answer with ``ETag`` and ``Consistency-Token``.
"""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import structlog
from fastapi import Depends, FastAPI, Request
from pydantic import BaseModel, ConfigDict, StringConstraints
from sqlalchemy.exc import DBAPIError
from starlette.responses import Response

from command.aggregate import Aggregate
from command.errors import (
    CommandRefused,
    ConcurrentUpdate,
    InvalidCommand,
    NotAllowed,
    NotFound,
    RuleBroken,
    StaleVersion,
)
from command.idempotency import ANONYMOUS, IdempotencyKeys, KeyedRequest, StoredAnswer
from command.outages import DATABASE_ERRORS, is_lost_race, is_not_now
from command.preconditions import expected_of
from command.unit_of_work import Transactions, UnitOfWork
from eventstore import ArchiveUnavailable
from runtime import tracing
from runtime.access import requires
from runtime.consistency import ConsistencyTokens
from runtime.headers import request_id_of, traceparent_of
from runtime.http import JsonResponse
from runtime.parameters import only_known_parameters
from runtime.problems import Problem
from runtime.tokens import Caller

log = structlog.get_logger()

A = TypeVar("A", bound=Aggregate)
N = TypeVar("N")

STATUS_OF_REFUSAL: Mapping[type[CommandRefused], int] = {
    NotAllowed: 403,
    NotFound: 404,
    RuleBroken: 409,
    ConcurrentUpdate: 409,
    StaleVersion: 412,
    InvalidCommand: 422,
}
"""The status of a refusal is that of the nearest class here; its slug is its own name in kebab case."""

ATTEMPTS = 3
"""How often a command whose aggregate was changed meanwhile is run: each attempt decides afresh on what it loads.

Under ``If-Match`` too: what the winner of a lost race left is another version, so the next attempt ends as 412, unless
the caller is content with that one as well.
"""

Customer = Annotated[Caller, Depends(requires("customer", password_flow=True))]
Staff = Annotated[Caller, Depends(requires("staff", password_flow=True))]
CustomerOrStaff = Annotated[Caller, Depends(requires("customer", "staff", password_flow=True))]
Operator = Annotated[Caller, Depends(requires("operator", password_flow=True))]

# Neither database nor log takes control characters well, and no name of anything needs them.
_NO_CONTROLS = r"^[^\x00-\x1f\x7f]*$"
Id = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f/]+$")]
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=_NO_CONTROLS)]
Line = Annotated[str, StringConstraints(max_length=300, pattern=_NO_CONTROLS)]
Prose = Annotated[str, StringConstraints(max_length=1000, pattern=r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$")]


class Body(BaseModel):
    """A request body: unknown fields and values of another type are refused, never guessed at."""

    model_config = ConfigDict(extra="forbid", strict=True)


UseCase = Callable[[UnitOfWork], Awaitable[A]]
Answer = Callable[[A], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class WriteSide:
    """What the process has for every command."""

    transactions: Transactions
    tokens: ConsistencyTokens
    keys: IdempotencyKeys


class Commands:
    """Runs the use case of one request against the write side."""

    def __init__(self, write_side: WriteSide, request: Request) -> None:
        self._write_side = write_side
        self._request = request

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[UnitOfWork]:
        """A transaction for a look that is no command, or comes before one; ``If-Match`` counts in it."""
        async with self._write_side.transactions.begin() as uow:
            uow.expected = expected_of(self._request.headers.getlist("if-match"))
            yield uow

    async def run(
        self, use_case: UseCase[A], answer: Answer[A], *, status: int = 200, location: str | None = None
    ) -> Response:
        """Run one command to its commit. ``location`` may hold ``{id}``."""
        keyed = await self._keyed()
        if keyed is None:
            return await self._attempted(use_case, answer, status, location, None)
        with self._write_side.keys.running(keyed):
            return await self._attempted(use_case, answer, status, location, keyed)

    async def run_prepared(
        self,
        prepare: Callable[[], Awaitable[UseCase[A]]],
        answer: Answer[A],
        *,
        status: int = 200,
        location: str | None = None,
    ) -> Response:
        """Like `run`, where making the use case is slow, needs no transaction, and is spared when sent again."""
        keyed = await self._keyed()
        if keyed is None:
            return await self._attempted(await prepare(), answer, status, location, None)
        with self._write_side.keys.running(keyed):
            async with self._write_side.transactions.engine.connect() as connection:
                replay = await self._write_side.keys.find(connection, keyed)
            if replay is not None:
                return _replayed(replay)
            return await self._attempted(await prepare(), answer, status, location, keyed)

    async def _attempted(
        self, use_case: UseCase[A], answer: Answer[A], status: int, location: str | None, keyed: KeyedRequest | None
    ) -> Response:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return await self._once(use_case, answer, status, location, keyed)
            except ConcurrentUpdate:
                if attempt == ATTEMPTS:
                    raise
            except DBAPIError as error:
                if attempt == ATTEMPTS or not is_lost_race(error):
                    raise
        raise AssertionError("the last attempt answers or raises")

    async def _once(
        self, use_case: UseCase[A], answer: Answer[A], status: int, location: str | None, keyed: KeyedRequest | None
    ) -> Response:
        async with self.begin() as uow:
            if keyed is not None:
                replay = await self._write_side.keys.claim(uow.connection, keyed)
                if replay is not None:
                    return _replayed(replay)
            aggregate = await use_case(uow)
            written = await uow.write(
                correlation_id=request_id_of(self._request.scope),
                traceparent=tracing.traceparent(traceparent_of(self._request.headers.get("traceparent"))),
            )
            headers = {
                "ETag": f'"{aggregate.version}"',
                "Consistency-Token": self._write_side.tokens.mint(written.transaction_id),
            }
            if location is not None:
                headers["Location"] = location.format(id=aggregate.id)
            response = JsonResponse(answer(aggregate), status, headers)
            if keyed is not None:
                stored = StoredAnswer(status, headers, bytes(response.body))
                await self._write_side.keys.store(uow.connection, keyed, stored)
            await uow.connection.commit()
            # For its line in the log: which aggregate it was about.
            told = {"aggregate_id": aggregate.id, "aggregate_version": aggregate.version}
            self._request.scope["state"]["told"] = told
            return response

    async def _keyed(self) -> KeyedRequest | None:
        request = self._request
        given = request.headers.getlist("idempotency-key")
        if not given:
            return None
        caller: Caller | None = getattr(request.state, "caller", None)
        return self._write_side.keys.request(
            # No subject can pass for nobody.
            f"subject {caller.subject}" if caller is not None else ANONYMOUS,
            ", ".join(given),
            method=request.method,
            path=request.url.path,
            body=await request.body(),
        )


def _replayed(answer: StoredAnswer) -> Response:
    headers = {**answer.headers, "Idempotent-Replayed": "true"}
    return Response(answer.body, answer.status, headers, JsonResponse.media_type)


async def commands_of(request: Request) -> Commands:
    """This request's `Commands`."""
    await only_known_parameters(request)
    return Commands(request.app.state.write_side, request)


UseCases = Annotated[Commands, Depends(commands_of)]


def neighbours(kind: type[N]) -> Callable[[Request], Awaitable[N]]:
    """A dependency: what a context asks of others, as `command.bootstrap` filled it in."""

    async def find(request: Request) -> N:
        found: N = request.app.state.neighbours[kind]
        return found

    return find


def install_refusal_handlers(app: FastAPI) -> None:
    """Render what the domain refuses, and what the database cannot do now, as problems."""

    async def refused(_: Request, error: Exception) -> Response:
        assert isinstance(error, CommandRefused)
        status = next(STATUS_OF_REFUSAL[base] for base in type(error).__mro__ if base in STATUS_OF_REFUSAL)
        return Problem(status, slug_of(type(error)), str(error)).response()

    async def unavailable(_: Request, error: Exception) -> Response:
        if isinstance(error, DBAPIError) and not is_not_now(error):
            raise error  # a bug of ours: it is to be seen as one
        return Problem(
            503, "unavailable", "The database does not answer; try again.", headers={"Retry-After": "1"}
        ).response()

    async def away(_: Request, error: Exception) -> Response:
        log.error("an archived part of the log cannot be read", error=str(error))
        return Problem(
            503, "unavailable", "An archived part of the log cannot be read now.", headers={"Retry-After": "60"}
        ).response()

    app.add_exception_handler(CommandRefused, refused)
    app.add_exception_handler(ArchiveUnavailable, away)
    for driver_error in DATABASE_ERRORS:
        app.add_exception_handler(driver_error, unavailable)


def slug_of(refusal: type[CommandRefused]) -> str:
    """``AlreadyShipped`` → ``already-shipped``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", refusal.__name__).lower()
