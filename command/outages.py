"""What the database says that is no fault of the command's: it is away, or busy, or somebody else was faster."""

import asyncpg
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolExhausted

DATABASE_ERRORS = (
    DBAPIError,
    PoolExhausted,
    ConnectionError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)
"""What a transaction may raise of the driver's own."""

_LOST_RACES = ("40001", "40P01")  # serialization failure, deadlock
_OUTAGES = ("08", "53", "57P", "58")  # connection lost, no memory or disk left, shutting down or starting up, I/O
_NOT_NOW = (*_LOST_RACES, "57014", "55P03")  # canceled by a timeout, a lock that is held


def is_lost_race(error: DBAPIError) -> bool:
    """Whether the same transaction, begun again at once, may well succeed."""
    return _sqlstate(error) in _LOST_RACES


def is_not_now(error: DBAPIError) -> bool:
    """Whether the same transaction may succeed later. If not, it is a bug of ours.

    By the server's own word: SQLAlchemy has no class for a server that starts up, shuts down, or is too busy.
    """
    known = isinstance(error, OperationalError | InterfaceError) or error.connection_invalidated
    return known or _sqlstate(error) in _NOT_NOW or _sqlstate(error).startswith(_OUTAGES)


def _sqlstate(error: DBAPIError) -> str:
    return getattr(error.orig, "sqlstate", None) or ""
