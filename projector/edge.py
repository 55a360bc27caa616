"""Who may call the projector's operations, and what any of them may refuse."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Depends

from runtime.access import requires
from runtime.openapi import problems
from runtime.parameters import only_known_parameters
from runtime.tokens import Caller


async def _operator(
    caller: Annotated[Caller, Depends(requires("operator"))], _: Annotated[None, Depends(only_known_parameters)]
) -> Caller:
    return caller


Operator = Annotated[Caller, Depends(_operator)]

_EVERY = {
    401: "`unauthorized`: no valid token",
    403: "`forbidden`: the token lacks the scope operator",
    503: "`unavailable`: MongoDB does not answer; see `Retry-After`",
}


def refusals(slugs_by_status: Mapping[int, str]) -> dict[int | str, dict[str, Any]]:
    """Responses of an operation that are problems: these, and those of every operation."""
    return problems({**_EVERY, **slugs_by_status})
