"""What the command API tells about itself."""

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from command.app import create_app
from runtime.settings import Settings
from tests.unit.test_tokens_of_every_call import OPEN

ERRORS = Path(__file__).parents[2] / "docs" / "errors.md"


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    settings = Settings(
        _env_file=None,  # type: ignore[call-arg]  # a developer's .env has no say
        postgres_url="postgresql://nobody@localhost/none",
        jwt_secret=SecretStr("x" * 32),
    )
    found: dict[str, Any] = create_app(settings).openapi()
    return found


def _operations(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        f"{method.upper()} {path}": operation
        for path, item in document["paths"].items()
        for method, operation in item.items()
    }


def test_every_command_documents_its_headers_and_refusals(document: dict[str, Any]) -> None:
    commands = {
        name: operation
        for name, operation in _operations(document).items()
        if name.startswith(("POST", "PATCH", "DELETE")) and name != "POST /token"
    }
    assert {"POST /orders", "PATCH /products/{product_id}", "DELETE /posts/{post_id}"} <= commands.keys()
    for name, operation in commands.items():
        parameters = {parameter["name"] for parameter in operation["parameters"]}
        [success] = [response for status, response in operation["responses"].items() if status.startswith("2")]
        assert parameters >= {"Idempotency-Key", "X-Request-Id"}, name
        assert ("If-Match" in parameters) == ("201" not in operation["responses"]), name
        assert success["headers"].keys() >= {"ETag", "Consistency-Token", "Idempotent-Replayed", "X-Request-Id"}, name
        assert operation["responses"].keys() >= {"409", "412", "413", "415", "422", "503"}, name
        assert ("401" in operation["responses"]) == (name not in OPEN), name


def test_every_refusal_is_a_problem_and_every_slug_that_is_named_is_documented(document: dict[str, Any]) -> None:
    documented = dict(re.findall(r"^\| `([a-z-]+)` \| (\d+) \|", ERRORS.read_text(), re.MULTILINE))
    for name, operation in _operations(document).items():
        if "health" in operation.get("tags", ()):
            continue
        for status, response in operation["responses"].items():
            if status >= "400" and (name, status) != ("POST /token", "400"):
                assert list(response["content"]) == ["application/problem+json"], (name, status)
                slugs = set(
                    re.findall(
                        r"`([a-z]+(?:-[a-z]+)+)`|`(forbidden|unauthorized|unavailable)`", response["description"]
                    )
                )
                for slug in ("".join(found) for found in slugs):
                    assert documented[slug] == status, (name, slug)
