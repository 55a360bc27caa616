"""The simulator's document is complete: whoever builds another gateway reads nothing else."""

from pathlib import Path
from typing import Any

import pytest
from jsonschema_rs import validator_for

from command.payments.simulator import create_app
from runtime.settings import Settings

DOCUMENT: dict[str, Any] = create_app(
    Settings(_env_file=None, data_dir=Path("/nonexistent"))  # type: ignore[call-arg]  # a developer's .env has no say
).openapi()
OPERATIONS = {
    f"{method.upper()} {path}": operation
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
}


@pytest.mark.parametrize("call", OPERATIONS)
def test_every_call_says_what_it_does_and_may_answer(call: str) -> None:
    operation = OPERATIONS[call]

    assert operation["summary"]
    assert operation["description"]
    assert operation["tags"]
    assert all("X-Request-Id" in response["headers"] for response in operation["responses"].values())


def test_the_calls_are_those_that_the_adapter_makes_and_one_to_look() -> None:
    health = {"GET /livez", "GET /readyz", "GET /metrics"}
    assert OPERATIONS.keys() - health == {"POST /charges", "POST /refunds", "POST /voids", "GET /charges"}


@pytest.mark.parametrize("name", sorted(DOCUMENT["components"]["schemas"]))
def test_every_body_has_an_example_that_is_valid(name: str) -> None:
    schema = DOCUMENT["components"]["schemas"][name]

    validator_for({**schema, "components": DOCUMENT["components"]}).validate(schema["example"])
