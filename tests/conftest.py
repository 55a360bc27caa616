"""Real databases for every test that asks: started once a session by Readside's own code, empty for each test.

READSIDE_TEST_POSTGRES_URL and READSIDE_TEST_MONGO_URL point elsewhere instead (CI services, a newer version).
"""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
import pytest
import uvloop
from motor.motor_asyncio import AsyncIOMotorClient
from pydantic import SecretStr

from readside.embedded.mongo import EmbeddedMongo
from readside.embedded.postgres import EmbeddedPostgres
from readside.embedded.start import Embedded, start
from readside.supervisor import Supervisor
from runtime.settings import Settings

JWT_SECRET = "a secret for tests alone, 32 bytes or more"


def pytest_configure() -> None:
    """A developer's own READSIDE_… settings must not decide how a test ends."""
    for name in list(os.environ):
        if name.startswith("READSIDE_") and not name.startswith("READSIDE_TEST_"):
            del os.environ[name]


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop that the processes run on."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def database_dir() -> Iterator[Path]:
    """The data directory of the session's embedded databases."""
    with tempfile.TemporaryDirectory(prefix="readside-tests-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@contextmanager
def _running(database: Embedded) -> Iterator[None]:
    # On a loop of its own: what lives as long as the session must not hang on the loop of any test.
    with asyncio.Runner() as runner:
        supervisor = runner.run(_supervisor())
        try:
            runner.run(start(supervisor, [database]))
            yield
        finally:
            runner.run(supervisor.end())


async def _supervisor() -> Supervisor:
    return Supervisor(log=lambda _name, _line: None, on_start=lambda: None)


@pytest.fixture(scope="session")
def postgres_server_url(database_dir: Path) -> Iterator[str]:
    """A PostgreSQL on which tests may create databases."""
    if given := os.environ.get("READSIDE_TEST_POSTGRES_URL"):
        yield given
        return
    server = EmbeddedPostgres(database_dir)
    with _running(server):
        yield server.url
    server.clear()


@pytest.fixture(scope="session")
def mongo_server_url(database_dir: Path) -> Iterator[str]:
    """A MongoDB replica set on which tests may create databases."""
    if given := os.environ.get("READSIDE_TEST_MONGO_URL"):
        yield given
        return
    server = EmbeddedMongo(database_dir)
    with _running(server):
        yield server.url


@pytest.fixture(scope="session")
def migrated_template(postgres_server_url: str) -> Iterator[str]:
    """The name of a database that has been migrated once, to copy from."""
    from command.migrations import migrate

    name = f"template_{uuid4().hex[:12]}"
    asyncio.run(_execute(postgres_server_url, f"create database {name}"))
    asyncio.run(migrate(_with_database(postgres_server_url, name)))
    yield name
    asyncio.run(_execute(postgres_server_url, f"drop database {name} with (force)"))


@pytest.fixture
async def postgres_url(postgres_server_url: str, migrated_template: str) -> AsyncIterator[str]:
    """A migrated, empty database of this test's own."""
    name = f"test_{uuid4().hex[:12]}"
    await _execute(postgres_server_url, f"create database {name} template {migrated_template}")
    yield _with_database(postgres_server_url, name)
    await _execute(postgres_server_url, f"drop database {name} with (force)")


@pytest.fixture
def mongo_url(mongo_server_url: str) -> str:
    """The MongoDB of the session; keep to `mongo_database_name` on it."""
    return mongo_server_url


@pytest.fixture
async def mongo_database_name(mongo_server_url: str) -> AsyncIterator[str]:
    """The name of a database of this test's own."""
    name = f"test_{uuid4().hex[:12]}"
    yield name
    client: AsyncIOMotorClient[dict[str, object]] = AsyncIOMotorClient(mongo_server_url)
    await client.drop_database(name)
    client.close()


@pytest.fixture
def settings(postgres_url: str, mongo_url: str, mongo_database_name: str, tmp_path: Path) -> Settings:
    """Settings of a process that uses this test's databases."""
    return Settings(
        _env_file=None,  # type: ignore[call-arg]  # a developer's .env has no say either
        postgres_url=postgres_url,
        mongo_url=mongo_url,
        mongo_database=mongo_database_name,
        data_dir=tmp_path,
        jwt_secret=SecretStr(JWT_SECRET),
    )


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def _with_database(url: str, name: str) -> str:
    parts = urlsplit(url)
    # Not _replace alone: urlunsplit drops the empty host that a socket's URL has.
    return urlunsplit(parts._replace(path=f"/{name}")) if parts.netloc else f"{parts.scheme}:///{name}?{parts.query}"
