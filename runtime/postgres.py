"""Connections to Postgres, all made in one way."""

from typing import TYPE_CHECKING, Any

import asyncpg

from runtime.errors import SettingsError
from runtime.settings import Settings

if TYPE_CHECKING:  # takes a while to import, and only the write side has engines
    from sqlalchemy.ext.asyncio import AsyncEngine

DRIVER_ERRORS = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""What asyncpg raises where the server is away. The last is no bug of the caller's: a server that is killed during a
handshake leaves the driver "in another operation". After any of them the connection is to be dropped."""

SHORT_TIMEOUT_SECONDS, LONG_TIMEOUT_SECONDS = 10.0, 60.0
"""How long an answer is waited for: where statements take milliseconds, and elsewhere. A network can go silent without
an end: without a limit, a process would wait for ever on a connection that nobody else remembers. The driver then tries
to cancel, for as long again."""


def postgres_url(settings: Settings) -> str:
    """The configured URL, or one readable sentence."""
    if settings.postgres_url is None:
        raise SettingsError("READSIDE_POSTGRES_URL is not set (`readside up` sets it for the processes it starts)")
    return settings.postgres_url


async def connect(url: str, name: str, *, timeout_seconds: float | None = None, **settings: str) -> Any:
    """One asyncpg connection, named in ``pg_stat_activity``; ``settings`` are the server's.

    ``timeout_seconds`` is for each statement; the long one where none is given.
    """
    named = {"application_name": f"readside {name}", **settings}
    limit = timeout_seconds or LONG_TIMEOUT_SECONDS
    return await asyncpg.connect(url, timeout=10, command_timeout=limit, server_settings=named)


def make_engine(
    url: str,
    name: str,
    *,
    pool_size: int = 10,
    pool_timeout_seconds: float = 10,
    timeout_seconds: float | None = None,
    **settings: str,
) -> "AsyncEngine":
    """A pooled SQLAlchemy engine over asyncpg, whose pool ``/metrics`` tells of.

    ``timeout_seconds`` and ``settings`` as for `connect`; ``pool_timeout_seconds`` is how long to wait for a free one.
    """
    from sqlalchemy.ext.asyncio import create_async_engine

    from runtime.pools import POSTGRES_POOLS, CountingPool

    async def create() -> Any:
        return await connect(url, name, timeout_seconds=timeout_seconds, **settings)

    engine = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=create,
        poolclass=CountingPool,
        pool_logging_name=name,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=pool_timeout_seconds,
    )
    POSTGRES_POOLS.add(engine)
    return engine
