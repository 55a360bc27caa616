"""docker-compose.yml says what the code understands: checked without an engine."""

from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from readside.cli import app
from runtime.settings import Settings

ROOT = Path(__file__).parents[2]
PORT_OF = {"command-api": "8001", "query-api": "8002", "projector": "8003", "payment-simulator": "8005"}
BROKERS = {"kafka", "rabbitmq"}


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    composed = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return dict(composed["services"])


def ours(services: dict[str, Any]) -> dict[str, Any]:
    return {name: service for name, service in services.items() if "build" in service}


def test_it_runs_every_process_and_both_stores(services: dict[str, Any]) -> None:
    assert set(services) == {"postgres", "mongo", "migrate", *PORT_OF, *BROKERS}


def test_brokers_start_only_for_those_who_ask(services: dict[str, Any]) -> None:
    assert {name: service["profiles"] for name, service in services.items() if "profiles" in service} == {
        name: [name] for name in BROKERS
    }
    assert {services["projector"]["environment"][f"READSIDE_{name}"] for name in ("KAFKA_BROKERS", "RABBITMQ_URL")} == {
        "${READSIDE_KAFKA_BROKERS:-}",
        "${READSIDE_RABBITMQ_URL:-}",
    }


def test_every_command_is_a_command_of_the_command_line(services: dict[str, Any]) -> None:
    known = typer.main.get_group(app).commands
    for name, service in ours(services).items():
        assert service["command"][0] == name
        assert name in known


def test_every_variable_is_a_setting(services: dict[str, Any]) -> None:
    known = {f"READSIDE_{name.upper()}" for name in Settings.model_fields}
    for service in ours(services).values():
        assert set(service["environment"]) <= known


def test_secrets_have_no_default(services: dict[str, Any]) -> None:
    for service in services.values():
        for name, value in service.get("environment", {}).items():
            if "SECRET" in name or "PASSWORD" in name:
                assert value.startswith("${")
                assert ":?" in value


def test_ports_are_those_of_the_contract_on_the_loopback_address_only(services: dict[str, Any]) -> None:
    published = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert published == {name: [f"127.0.0.1:{port}:{port}"] for name, port in PORT_OF.items()}
    for name, port in PORT_OF.items():
        assert services[name]["command"] == [name, "--port", port]
        assert f":{port}/readyz" in services[name]["healthcheck"]["test"][-1]


def test_nothing_starts_before_what_it_needs(services: dict[str, Any]) -> None:
    needs = {name: service.get("depends_on", {}) for name, service in services.items()}
    healthy, done = {"condition": "service_healthy"}, {"condition": "service_completed_successfully"}
    assert needs == {
        "postgres": {},
        "mongo": {},
        "migrate": {"postgres": healthy},
        "command-api": {"migrate": done},
        "projector": {"migrate": done, "mongo": healthy},
        "query-api": {"mongo": healthy},
        # The projector does not wait for it: a gateway that is away is no reason not to start.
        "payment-simulator": {},
        # Nor for brokers.
        **{name: {} for name in BROKERS},
    }


def test_mongodb_is_a_replica_set_that_its_health_check_makes(services: dict[str, Any]) -> None:
    mongo = services["mongo"]
    assert mongo["command"][:2] == ["--replSet", "rs0"]
    assert "rs.initiate" in mongo["healthcheck"]["test"][-1]
    assert services["query-api"]["environment"]["READSIDE_MONGO_URL"].endswith("replicaSet=rs0")


def test_the_image_holds_every_package() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    for package in ("command", "events", "eventstore", "projector", "query", "readside", "runtime", "views"):
        assert f"!{package}/" in ignored
