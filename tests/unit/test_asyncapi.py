"""The AsyncAPI document holds to the structure of AsyncAPI 3.0, for which no validator is packaged."""

from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from command.event_schemas import asyncapi_document
from events.envelope import shapes


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return asyncapi_document("1.2.3")


def _references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if "$ref" in part:
            assert list(part) == ["$ref"], "a reference stands alone"
            yield part["$ref"]
        for inner in part.values():
            yield from _references(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from _references(inner)


def _resolved(document: dict[str, Any], reference: str) -> Any:
    found: Any = document
    for name in reference.removeprefix("#/").split("/"):
        found = found[name]
    return found


def test_it_has_the_fields_of_version_three_and_no_others(document: dict[str, Any]) -> None:
    allowed = {"asyncapi", "id", "info", "servers", "defaultContentType", "channels", "operations", "components"}
    assert document["asyncapi"] == "3.0.0"
    assert document.keys() <= allowed
    assert document["info"].keys() >= {"title", "version"}
    for channel in document["channels"].values():
        assert channel.keys() <= {"address", "messages", "title", "summary", "description", "bindings", "tags"}
    for operation in document["operations"].values():
        assert operation["action"] in ("send", "receive")
        assert operation.keys() <= {
            "action", "channel", "title", "summary", "description", "security", "tags", "bindings", "messages",
        }  # fmt: skip
    for message in document["components"]["messages"].values():
        assert message.keys() <= {"name", "title", "summary", "contentType", "tags", "payload", "headers"}


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    references = set(_references(document))
    assert references
    for reference in references:
        assert _resolved(document, reference) is not None


def test_an_operation_names_messages_of_its_own_channel(document: dict[str, Any]) -> None:
    for operation in document["operations"].values():
        channel = operation["channel"]["$ref"]
        assert all(message["$ref"].startswith(f"{channel}/messages/") for message in operation["messages"])


def test_every_version_of_every_event_is_a_message_whose_payload_is_a_schema(document: dict[str, Any]) -> None:
    messages = document["components"]["messages"]
    assert messages.keys() == {f"{name}.v{version}" for name, version in shapes()}
    assert messages.keys() == document["channels"]["events"]["messages"].keys()
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft7Validator.check_schema(schema)  # the dialect of AsyncAPI's schema objects
