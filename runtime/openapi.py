"""What every OpenAPI document of Readside says alike: problems, and the headers that every answer carries.

Routes name their own slugs; what holds for every call is added here, once, when the document is asked for.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from fastapi import FastAPI
from pydantic import ConfigDict

from runtime.problems import MEDIA_TYPE

Json = dict[str, Any]

PROBLEM: Json = {
    "title": "Problem",
    "description": "RFC 9457; docs/errors.md explains every slug.",
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "pattern": "^/problems/[a-z-]+$", "description": "`/problems/<slug>`"},
        "title": {"type": "string"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "description": "Of `invalid-input`: what is wrong where.",
            "items": {
                "type": "object",
                "required": ["loc", "msg"],
                "properties": {
                    "loc": {"type": "array", "items": {"type": ["string", "integer"]}},
                    "msg": {"type": "string"},
                },
            },
        },
    },
    "example": {
        "type": "/problems/not-found",
        "title": "Not found",
        "status": 404,
        "detail": "There is no such order.",
    },
}
_PROBLEM_REFERENCE = {"$ref": "#/components/schemas/Problem"}

_RETRY_AFTER = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 0}}}
_WWW_AUTHENTICATE = {"WWW-Authenticate": {"description": "`Bearer`", "schema": {"type": "string"}}}
_REQUEST_ID = {
    "X-Request-Id": {"description": "The request's, or one that was made for it.", "schema": {"type": "string"}}
}


def example(**fields: Any) -> ConfigDict:
    """Model configuration: what such a body may look like."""
    return ConfigDict(json_schema_extra={"example": _with_null(fields, None, _NULL)})


# FastAPI leaves every null out of its document, those of examples too.
_NULL = "\x00null"


def _with_null(value: Any, before: object, after: object) -> Any:
    if isinstance(value, dict):
        return {name: _with_null(item, before, after) for name, item in value.items()}
    if isinstance(value, list):
        return [_with_null(item, before, after) for item in value]
    return after if value == before else value


def problems(slugs_by_status: Mapping[int, str]) -> dict[int | str, Json]:
    """Responses that are problems; the text names their slugs."""
    return {status: _problem(status, text) for status, text in sorted(slugs_by_status.items())}


def _problem(status: int, text: str) -> Json:
    headers = _RETRY_AFTER if status in (429, 503) else _WWW_AUTHENTICATE if status == 401 else {}
    return {
        "description": text,
        "content": {MEDIA_TYPE: {"schema": _PROBLEM_REFERENCE}},
        **({"headers": headers} if headers else {}),
    }


def complete_openapi(app: FastAPI) -> None:
    """Have the app tell in its document what holds for every call."""
    describe: Callable[[], Json] = app.openapi

    def openapi() -> Json:
        if app.openapi_schema is None:
            document = describe()
            schemas = document.setdefault("components", {}).setdefault("schemas", {})
            for unused in ("HTTPValidationError", "ValidationError"):
                schemas.pop(unused, None)
            for schema in schemas.values():
                if "example" in schema:
                    schema["example"] = _with_null(schema["example"], _NULL, None)
            schemas["Problem"] = PROBLEM
            for operation in _operations(document):
                _complete(operation)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # as FastAPI itself documents it


def _operations(document: Json) -> Iterator[Json]:
    for item in document["paths"].values():
        yield from (operation for method, operation in item.items() if method in _METHODS)


def _complete(operation: Json) -> None:
    responses = operation["responses"]
    # The framework's own 422, where the route has not described its own.
    if "HTTPValidationError" in str(responses.get("422", {})):
        responses["422"] = _problem(422, "`invalid-input`: see `errors`")
    if operation.get("requestBody"):
        responses.setdefault("413", _problem(413, "`body-too-large`: over 1 MiB"))
    for response in responses.values():
        response["headers"] = {**_REQUEST_ID, **response.get("headers", {})}
    operation["responses"] = dict(sorted(responses.items()))


_METHODS = frozenset({"get", "put", "post", "delete", "patch"})
