"""Query parameters that a call does not know, or gets twice: the caller meant something that would be passed over."""

from collections import Counter
from collections.abc import Iterator

from fastapi import Request
from fastapi.dependencies.models import Dependant
from pydantic import BaseModel

from runtime.problems import invalid_input


async def only_known_parameters(request: Request) -> None:
    """A dependency: 422 for a query parameter that the route does not have, or has more than once."""
    if not request.scope["query_string"]:
        return
    known = set(_names(request.scope["route"].dependant))
    given = Counter(name for name, _ in request.query_params.multi_items())
    reasons = [
        (["query", name], "given more than once" if name in known else "this call has no such parameter")
        for name, count in given.items()
        if name not in known or count > 1
    ]
    if reasons:
        raise invalid_input(*reasons[:50])


def _names(dependant: Dependant) -> Iterator[str]:
    for parameter in dependant.query_params:
        declared = parameter.field_info.annotation
        if isinstance(declared, type) and issubclass(declared, BaseModel):
            yield from declared.model_fields
        else:
            yield parameter.alias
    for needed in dependant.dependencies:
        yield from _names(needed)
