"""Operations over HTTP, for operators: rebuild a view, and go back to the one before."""

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict

from projector.registry import Entry, RebuildRefusedError, Registry, UnknownProjectionError
from runtime.access import requires
from runtime.problems import Problem
from runtime.tokens import Caller

router = APIRouter(prefix="/projections", tags=["operations"])

Operator = Annotated[Caller, Depends(requires("operator"))]


class Rebuild(BaseModel):
    """How to rebuild."""

    model_config = ConfigDict(extra="forbid", strict=True)

    keep_old: bool = False


def _registry(request: Request) -> Registry:
    found: Registry = request.app.state.registry
    return found


Registered = Annotated[Registry, Depends(_registry)]


@router.post("/{name}/rebuild", status_code=202, summary="Build a view afresh while the old one is served")
async def rebuild(name: str, _: Operator, registry: Registered, body: Rebuild | None = None) -> dict[str, Any]:
    """Fill a new collection from the first event on, follow the log, compare, switch. `keep_old` keeps the old one."""
    try:
        return _answer(await registry.request_rebuild(name, keep_old=body is not None and body.keep_old))
    except UnknownProjectionError as error:
        raise Problem(404, "not-found", str(error)) from None
    except RebuildRefusedError as error:
        raise Problem(409, "rebuild-refused", str(error)) from None


@router.post("/{name}/rollback", summary="Serve the previous view again")
async def rollback(name: str, _: Operator, registry: Registered) -> dict[str, Any]:
    """Switch back in one write, as long as the previous view is kept."""
    try:
        return _answer(await registry.rollback(name))
    except UnknownProjectionError as error:
        raise Problem(404, "not-found", str(error)) from None
    except RebuildRefusedError as error:
        raise Problem(409, "rebuild-refused", str(error)) from None


def _answer(entry: Entry) -> dict[str, Any]:
    answer: dict[str, Any] = msgspec.to_builtins(entry)
    answer["name"] = answer.pop("_id")
    return answer
