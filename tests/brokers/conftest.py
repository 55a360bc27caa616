"""One broker of each kind for the session; every test has a topic, or an exchange, of its own."""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from pydantic import SecretStr

from runtime.postgres import make_engine
from runtime.settings import Settings
from tests.brokers.kafka import tansu
from tests.brokers.rabbit import Rabbit, server_script
from tests.integration.reacting import Stock


@pytest.fixture(scope="session")
def kafka_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a broker."""
    with tansu(tmp_path_factory.mktemp("kafka")) as address:
        yield address


@pytest.fixture
def kafka_settings(settings: Settings, kafka_broker: str) -> Settings:
    """With a topic of this test's own."""
    return settings.model_copy(update={"kafka_brokers": kafka_broker, "kafka_topic": f"events-{uuid4().hex[:8]}"})


@pytest.fixture(scope="session")
def rabbit_script() -> Path:
    """What starts a node; skipped where RabbitMQ is not installed, except in CI, which installs it."""
    script = server_script()
    if script is None:
        if os.environ.get("CI") == "true":
            pytest.fail("CI is to install rabbitmq-server")
        pytest.skip("RabbitMQ is not installed (Debian: rabbitmq-server)")
    return script


@pytest.fixture(scope="session")
def rabbit(rabbit_script: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rabbit]:
    """A node for all tests that end none."""
    node = Rabbit(rabbit_script, tmp_path_factory.mktemp("rabbit"))
    with node.running():
        yield node


@pytest.fixture
def rabbit_settings(settings: Settings, rabbit: Rabbit) -> Settings:
    """With an exchange of this test's own, which is told everything."""
    return settings.model_copy(
        update={
            "rabbitmq_url": SecretStr(rabbit.url),
            "rabbitmq_exchange": f"events-{uuid4().hex[:8]}",
            "rabbitmq_from_beginning": True,
        }
    )


@pytest.fixture
async def stock(settings: Settings) -> AsyncIterator[Stock]:
    """A log of adjustments."""
    engine = make_engine(settings.postgres_url or "", "test", pool_size=2)
    yield Stock(engine)
    await engine.dispose()
