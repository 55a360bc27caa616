"""What every command tells of itself in OpenAPI beyond its own body and model: headers both ways, and its refusals.

Headers are read from the request where they are needed: declared as parameters they would be parsed each time.
"""

from typing import Any

from command.idempotency import LONGEST_KEY
from runtime.openapi import problems

# Of Latin-1, which is all that a header holds; space around it is not part of it.
_VISIBLE = r"\x21-\x7e\xa1-\xac\xae-\xff"
_PRINTABLE = rf"^[{_VISIBLE}]([ {_VISIBLE}]*[{_VISIBLE}])?$"

_IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "minLength": 1, "maxLength": LONGEST_KEY, "pattern": _PRINTABLE},
    "example": "01a1fd9a-0f1b-7755-bf54-6e41f8a8e764",
    "description": "Any string of your own, new for each command. The same key with the same body within 24 hours "
    "gives the first answer again, with `Idempotent-Replayed: true`, and has no effect. Refusals are not kept: sent "
    "again, the command is decided afresh. Best a random UUID, above all where there is no token.",
}
_ETAGS = r'^(\*|(W/)?"[\x21\x23-\x7e]*"(, *(W/)?"[\x21\x23-\x7e]*")*)$'
_IF_MATCH = {
    "name": "If-Match",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "pattern": _ETAGS},
    "example": '"3"',
    "description": "The `ETag` of what you have seen, several with commas, or `*`: 412 `stale-version`, and nothing "
    "done, where it has changed since. Without it the command counts on whatever is there.",
}
_REQUEST_ID = {
    "name": "X-Request-Id",
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
    "description": "Comes back in the answer, and is the correlation id of the events. One is made where none is sent, "
    "or one that is longer than 128 characters or unfit for a log.",
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
}
_LOCATION = {"Location": {"description": "Where the query API serves it.", "schema": {"type": "string"}}}


def command(
    status: int = 200,
    *,
    rules: str = "",
    invalid: str = "",
    forbidden: str = "",
    makes: bool = False,
    of_another: bool = False,
    token: bool = True,
    limited: bool = False,
) -> dict[str, Any]:
    """Keyword arguments for the decorator of a command's route.

    ``rules``, ``invalid`` and ``forbidden`` list the slugs of 409, 422 and 403 that are this command's own; ``makes``:
    it makes something new, ``of_another``: out of something that is there; ``token``: it needs one; ``limited``: it may
    come too often.
    """
    told: dict[int, str] = {
        409: ", ".join(
            part for part in (rules, "`request-in-progress`", "" if makes else "`concurrent-update`") if part
        ),
        412: "`stale-version`: "
        + ("there is nothing yet that `If-Match` could name" if makes else "not at a version that `If-Match` names"),
        413: "`body-too-large`: over 1 MiB",
        415: "`unsupported-media-type`: not `application/json`",
        422: ", ".join(part for part in ("`invalid-input`: see `errors`", "`idempotency-key-reused`", invalid) if part),
        503: "`unavailable`: the database does not answer; see `Retry-After`",
    }
    if token:
        lacks_scope = "`forbidden`: the token lacks the scope"
        told |= {
            401: "`unauthorized`: no valid token",
            403: ", ".join(part for part in (lacks_scope, forbidden) if part),
        }
    if not makes or of_another:
        told[404] = "`not-found`: does not exist, or is not yours to see"
    if limited:
        told[429] = "`too-many-requests`: see `Retry-After`"
    # What does not exist yet has no version to name.
    parameters = [_IDEMPOTENCY_KEY, *(() if makes else (_IF_MATCH,)), _REQUEST_ID]
    headers = {**_ANSWER_HEADERS, **(_LOCATION if makes else {})}
    return {
        "status_code": status,
        "responses": {status: {"headers": headers}, **problems(told)},
        "openapi_extra": {"parameters": parameters},
    }
