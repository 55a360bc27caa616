"""Idempotency keys: a command that is sent again has its effect once, and its first answer again.

What it guarantees
    The answer is stored in the transaction of the effect: either both are there or neither, whichever process is
    killed at whichever moment. Of any number of duplicates at the same time one runs; the others are told so at once.
    Refusals are not stored, as they had no effect: sent again, the command is decided afresh.

How
    A transaction first *tries* for an advisory lock on caller and key, then looks for a stored answer, runs the
    command, stores its answer, commits. Whoever does not get the lock answers ``request-in-progress``. Relying on
    the primary key alone would be correct too, but there a duplicate waits for the first one's commit, on a pooled
    connection: a client that retries hastily could take them all.

    The look is a statement of its own, after the lock: Postgres makes a commit visible before it releases its locks,
    so a snapshot taken under the lock sees what the last holder stored. In one statement with the lock it might not.

What is kept
    Of the request, a fingerprint only. Bodies hold passwords, and a plain hash of one could be tried against a word
    list; so it is keyed by what the database alone does not tell.
"""

import asyncio
import hashlib
import hmac
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass

import msgspec
import structlog
from sqlalchemy import Column, Index, LargeBinary, SmallInteger, Table, Text, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolExhausted
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from command.database import Moment, metadata
from runtime.problems import Problem, invalid_input

log = structlog.get_logger()

LONGEST_KEY = 255
ANONYMOUS = "anonymous"
"""Whoever signs up, as one caller. To get another's answer takes the other's whole body, password and all."""

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("caller", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("status", SmallInteger, nullable=False),
    Column("headers", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("created_at", Moment, nullable=False),
    Index("ix_idempotency_keys_created_at", "created_at"),
)

_LOCK = text("SELECT pg_try_advisory_xact_lock(:lock)")
_FIND = text(
    """
    SELECT fingerprint, status, headers, body FROM idempotency_keys
     WHERE caller = :caller AND key = :key AND created_at > now() - interval '24 hours'
    """
)
# What may stand in the way is a row that has expired and was not swept yet: now() is that of the look.
_STORE = text(
    """
    INSERT INTO idempotency_keys (caller, key, fingerprint, status, headers, body, created_at)
    VALUES (:caller, :key, :fingerprint, :status, :headers, :body, now())
        ON CONFLICT (caller, key) DO UPDATE
       SET fingerprint = excluded.fingerprint, status = excluded.status, headers = excluded.headers,
           body = excluded.body, created_at = excluded.created_at
    """
)
_SWEEP = text(
    """
    DELETE FROM idempotency_keys
     WHERE (caller, key) IN (SELECT caller, key FROM idempotency_keys
                              WHERE created_at <= now() - interval '24 hours'
                              ORDER BY created_at LIMIT :limit FOR UPDATE SKIP LOCKED)
    """
)
SWEEP_EVERY_SECONDS = 600.0
SWEEP_BATCH = 1_000


@dataclass(frozen=True, slots=True)
class KeyedRequest:
    """A command that carries a key."""

    caller: str
    key: str
    fingerprint: bytes
    lock: int


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """What was answered the first time."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class IdempotencyKeys:
    """The keys of one deployment, as one process sees them."""

    def __init__(self, *, deployment_id: str, secret: str) -> None:
        self._secret = hmac.digest(secret.encode(), f"idempotency-key:{deployment_id}".encode(), hashlib.sha256)
        self._running: set[tuple[str, str]] = set()

    def request(self, caller: str, key: str, *, method: str, path: str, body: bytes) -> KeyedRequest:
        """A request under a key. Raises a `Problem` for what is no key."""
        if not 1 <= len(key) <= LONGEST_KEY or not key.isprintable():
            raise invalid_input((["header", "Idempotency-Key"], f"1 to {LONGEST_KEY} printable characters are needed"))
        return KeyedRequest(
            caller=caller,
            key=key,
            fingerprint=self._digest(method, path, _canonical(body)),
            # Keyed too: nobody can choose a key that takes the lock of somebody else, or the sequencer's.
            lock=int.from_bytes(self._digest("lock", caller, key)[:8], "big", signed=True),
        )

    @contextmanager
    def running(self, request: KeyedRequest) -> Iterator[None]:
        """Refuse duplicates within this process, before they take a connection or hash a password."""
        running = (request.caller, request.key)
        if running in self._running:
            raise _in_progress()
        self._running.add(running)
        try:
            yield
        finally:
            self._running.discard(running)

    async def claim(self, connection: AsyncConnection, request: KeyedRequest) -> StoredAnswer | None:
        """Own the key until this transaction ends. Returns the first answer, if one was given already."""
        if not await connection.scalar(_LOCK, {"lock": request.lock}):
            raise _in_progress()
        return await self.find(connection, request)

    async def find(self, connection: AsyncConnection, request: KeyedRequest) -> StoredAnswer | None:
        """The first answer. Raises a `Problem` where the key was used for something else."""
        row = (await connection.execute(_FIND, {"caller": request.caller, "key": request.key})).first()
        if row is None:
            return None
        if not hmac.compare_digest(row.fingerprint, request.fingerprint):
            raise Problem(
                422, "idempotency-key-reused", "This Idempotency-Key was sent before, with another call or body."
            )
        return StoredAnswer(row.status, msgspec.json.decode(row.headers), row.body)

    async def store(self, connection: AsyncConnection, request: KeyedRequest, answer: StoredAnswer) -> None:
        """Keep the answer, in the transaction of its effect that has claimed the key."""
        await connection.execute(
            _STORE,
            {
                "caller": request.caller,
                "key": request.key,
                "fingerprint": request.fingerprint,
                "status": answer.status,
                "headers": msgspec.json.encode(answer.headers).decode(),
                "body": answer.body,
            },
        )

    def _digest(self, *parts: str | bytes) -> bytes:
        mac = hmac.new(self._secret, digestmod=hashlib.sha256)
        for part in parts:
            encoded = part.encode() if isinstance(part, str) else part
            mac.update(len(encoded).to_bytes(8, "big") + encoded)
        return mac.digest()


def _canonical(body: bytes) -> bytes:
    # A client may well serialize its retry anew, in another order.
    try:
        return msgspec.json.encode(msgspec.json.decode(body), order="sorted")
    except (msgspec.MsgspecError, UnicodeError, ValueError, RecursionError):
        return body


def _in_progress() -> Problem:
    return Problem(
        409,
        "request-in-progress",
        "The first request with this Idempotency-Key is still running.",
        headers={"Retry-After": "1"},
    )


async def sweep(engine: AsyncEngine) -> int:
    """Delete what has expired, in short transactions; several processes share the work. Returns how many."""
    swept = 0
    while True:
        async with engine.begin() as connection:
            found = (await connection.execute(_SWEEP, {"limit": SWEEP_BATCH})).rowcount
        swept += found
        if found < SWEEP_BATCH:
            return swept


@asynccontextmanager
async def sweeping(engine: AsyncEngine, *, every_seconds: float = SWEEP_EVERY_SECONDS) -> AsyncIterator[None]:
    """Sweep now and then, for as long as the block runs. A database that is away is left for the next time."""

    async def keep_sweeping() -> None:
        while True:
            try:
                if swept := await sweep(engine):
                    log.info("idempotency keys expired", count=swept)
            except (DBAPIError, PoolExhausted, OSError) as error:
                log.warning("idempotency keys were not swept", reason=type(error).__name__)
            await asyncio.sleep(every_seconds)

    task = asyncio.create_task(keep_sweeping())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
