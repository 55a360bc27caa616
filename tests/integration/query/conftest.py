"""A query API over views that a test writes itself, as the projector would."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from query.app import create_app
from runtime.mongo import Database, mongo_database
from runtime.settings import Settings
from tests.conftest import JWT_SECRET
from tests.integration.query.shop import Api, Shop


@pytest.fixture
def query_settings(mongo_url: str, mongo_database_name: str, tmp_path: Path) -> Settings:
    """Settings of a query API; there is no Postgres."""
    return Settings(
        _env_file=None,  # type: ignore[call-arg]  # a developer's .env has no say
        mongo_url=mongo_url,
        mongo_database=mongo_database_name,
        data_dir=tmp_path,
        jwt_secret=SecretStr(JWT_SECRET),
    )


@pytest.fixture
async def database(query_settings: Settings) -> AsyncIterator[Database]:
    """The views' database, empty."""
    database = mongo_database(query_settings, "tests")
    yield database
    database.client.close()


@pytest.fixture
async def shop(database: Database) -> Shop:
    """The views, made and empty."""
    shop = Shop(database)
    await shop.open()
    return shop


@asynccontextmanager
async def _running(settings: Settings) -> AsyncIterator[Api]:
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://query") as client:
            yield Api(client, app, settings)


@pytest.fixture
async def early_api(query_settings: Settings) -> AsyncIterator[Api]:
    """A query API that may have been started before any projector."""
    async with _running(query_settings) as api:
        yield api


@pytest.fixture
async def api(query_settings: Settings, shop: Shop) -> AsyncIterator[Api]:
    """A query API that follows the shop's views."""
    async with _running(query_settings) as api:
        assert await api.follower.reaches(lambda: api.follower.available, 60)
        yield api
