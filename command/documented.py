"""What every command tells of itself in OpenAPI beyond its own body and model: headers both ways, and its refusals.

Headers are read from the request where they are needed: declared as parameters they would be parsed each time.
"""

from typing import Any

from command.idempotency import LONGEST_KEY
from runtime.problems import MEDIA_TYPE

_IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "minLength": 1, "maxLength": LONGEST_KEY},
    "description": "Any string of your own, new for each command. The same key with the same body within 24 hours "
    "gives the first answer again, with `Idempotent-Replayed: true`, and has no effect. Refusals are not kept: sent "
    "again, the command is decided afresh. Best a random UUID, above all where there is no token.",
}
_IF_MATCH = {
    "name": "If-Match",
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
    "example": '"3"',
    "description": "The `ETag` of what you have seen, several with commas, or `*`: 412 `stale-version`, and nothing "
    "done, where it has changed since. Without it the command counts on whatever is there.",
}
_REQUEST_ID = {
    "name": "X-Request-Id",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "maxLength": 128},
    "description": "Comes back in the answer, and is the correlation id of the events. One is made where none is sent.",
}
_ANSWER_HEADERS = {
    "ETag": {"description": "The new version, in quotes; for `If-Match`.", "schema": {"type": "string"}},
    "Consistency-Token": {
        "description": "Send it to the query API to see this command's effects.",
        "schema": {"type": "string"},
    },
    "Idempotent-Replayed": {
        "description": "This is the first answer again; nothing was done now.",
        "schema": {"type": "string", "enum": ["true"]},
    },
    "X-Request-Id": {"description": "The request's, or one that was made for it.", "schema": {"type": "string"}},
}
_LOCATION = {"Location": {"description": "Where the query API serves it.", "schema": {"type": "string"}}}
_RETRY_AFTER = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}}

PROBLEM = {
    "title": "Problem",
    "description": "RFC 9457; every slug is explained in docs/errors.md",
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "pattern": "^/problems/[a-z-]+$"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
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
}


def problems(slugs_by_status: dict[int, str]) -> dict[int | str, dict[str, Any]]:
    """Responses that are problems; the text names their slugs."""
    return {
        status: {
            "description": text,
            "content": {MEDIA_TYPE: {"schema": PROBLEM}},
            **({"headers": _RETRY_AFTER} if status in (429, 503) else {}),
        }
        for status, text in sorted(slugs_by_status.items())
    }


def command(
    status: int = 200,
    *,
    rules: str = "",
    invalid: str = "",
    makes: bool = False,
    token: bool = True,
    limited: bool = False,
) -> dict[str, Any]:
    """Keyword arguments for the decorator of a command's route.

    ``rules`` and ``invalid`` list the slugs of 409 and 422 that are this command's own; ``makes``: it makes something
    new; ``token``: it needs one; ``limited``: it may come too often.
    """
    told = {
        409: ", ".join(
            part for part in (rules, "`request-in-progress`", "" if makes else "`concurrent-update`") if part
        ),
        412: "`stale-version`: it is not, or no longer, at a version that `If-Match` names",
        413: "`body-too-large`: over 1 MiB",
        415: "`unsupported-media-type`: not `application/json`",
        422: ", ".join(part for part in ("`invalid-input`: see `errors`", "`idempotency-key-reused`", invalid) if part),
        503: "`unavailable`: the database does not answer; see `Retry-After`",
    }
    if token:
        told |= {401: "`unauthorized`: no valid token", 403: "`forbidden`: the token lacks the scope"}
    if not makes:
        told[404] = "`not-found`: does not exist, or is not yours to see"
    if limited:
        told[429] = "`too-many-requests`: see `Retry-After`"
    headers = {**_ANSWER_HEADERS, **(_LOCATION if makes else {})}
    return {
        "status_code": status,
        "responses": {status: {"headers": headers}, **problems(told)},
        "openapi_extra": {"parameters": [_IDEMPOTENCY_KEY, _IF_MATCH, _REQUEST_ID]},
    }
