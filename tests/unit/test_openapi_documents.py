"""The documents of all three processes are complete: whoever reads nothing else can write a client."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from jsonschema_rs import validator_for

from tests.unit.test_tokens_of_every_call import APPS, OPEN, _apps

ERRORS = Path(__file__).parents[2] / "docs" / "errors.md"
DOCUMENTED = dict(re.findall(r"^\| `([a-z-]+)` \| (\d+) \|", ERRORS.read_text(), re.MULTILINE))
DOCUMENTS: dict[str, dict[str, Any]] = {name: app.openapi() for name, app in _apps().items()}
HEALTH = ("/livez", "/readyz", "/metrics")
OPERATIONS = {
    f"{process} {method.upper()} {path}": operation
    for process, document in DOCUMENTS.items()
    for path, item in document["paths"].items()
    for method, operation in item.items()
}


def _json_schemas(process: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema that a JSON body of this process has, going in or coming out."""
    for call, operation in OPERATIONS.items():
        if call.startswith(process):
            told = {"request": operation.get("requestBody", {}), **operation["responses"]}
            for where, body in told.items():
                if schema := body.get("content", {}).get("application/json", {}).get("schema"):
                    yield f"{call} {where}", schema


def _resolved(process: str, schema: dict[str, Any]) -> dict[str, Any]:
    options = [option for option in schema.get("anyOf", [schema]) if option != {"type": "null"}]
    [name] = [option["$ref"].rpartition("/")[2] for option in options]
    found: dict[str, Any] = DOCUMENTS[process]["components"]["schemas"][name]
    return found


@pytest.mark.parametrize("call", OPERATIONS)
def test_every_call_says_what_it_does_and_may_answer(call: str) -> None:
    operation = OPERATIONS[call]

    assert operation["summary"]
    assert operation["description"]
    assert operation["tags"]
    for status, response in operation["responses"].items():
        assert response["description"], status
        assert "X-Request-Id" in response["headers"], status
        if status >= "400" and (call, status) != ("command POST /token", "400"):
            assert response["content"] == {
                "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
            }
            named = set(re.findall(r"`([a-z]+(?:-[a-z]+)*)`", response["description"])) & DOCUMENTED.keys()
            assert named, (status, response["description"])
            assert {DOCUMENTED[slug] for slug in named} == {status}
        if status in ("429", "503"):
            assert "Retry-After" in response["headers"]


@pytest.mark.parametrize("call", [call for call in OPERATIONS if not call.endswith(HEALTH)])
def test_every_call_says_whether_it_needs_a_token(call: str) -> None:
    process, _, name = call.partition(" ")
    operation = OPERATIONS[call]

    is_open = process != "projector" and name in OPEN
    assert ("security" not in operation) == is_open
    assert ({"401", "403"} <= operation["responses"].keys()) == (not is_open)
    schemes = DOCUMENTS[process]["components"]["securitySchemes"]
    assert all(scheme in schemes for needed in operation.get("security", ()) for scheme in needed)


@pytest.mark.parametrize("process", APPS)
def test_every_body_has_an_example_that_is_valid(process: str) -> None:
    for where, schema in _json_schemas(process):
        described = _resolved(process, schema)
        assert "example" in described, where
        whole = {**described, "components": DOCUMENTS[process]["components"]}
        errors = [str(error) for error in validator_for(whole).iter_errors(described["example"])]
        assert errors == [], where


@pytest.mark.parametrize("process", APPS)
def test_every_parameter_is_typed(process: str) -> None:
    parameters = [
        (call, parameter)
        for call, operation in OPERATIONS.items()
        if call.startswith(process)
        for parameter in operation.get("parameters", ())
    ]

    assert [(call, one["name"]) for call, one in parameters if not one["schema"]] == []
    assert [(call, one["name"]) for call, one in parameters if one["in"] == "header" and not one["description"]] == []


@pytest.mark.parametrize("process", APPS)
async def test_a_method_that_a_path_does_not_have_is_answered_with_all_that_it_has(process: str) -> None:
    transport = httpx.ASGITransport(app=_apps()[process])
    async with httpx.AsyncClient(transport=transport, base_url=f"http://{process}") as client:
        for path, item in DOCUMENTS[process]["paths"].items():
            answer = await client.options(path)
            assert answer.status_code == 405
            assert set(answer.headers["allow"].split(", ")) - {"HEAD"} == {method.upper() for method in item}, path
