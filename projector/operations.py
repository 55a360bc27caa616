"""Operations over HTTP, for operators: where projections stand; rebuild, verify, go back to the one before."""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Depends, Path, Request
from pydantic import BaseModel, ConfigDict

from projector.edge import Operator, refusals
from projector.lease import LEASES
from projector.progress import head_of, position_of
from projector.registry import Entry, RebuildRefusedError, Registry, UnknownProjectionError
from projector.verifying import Verifications, VerificationUnderWay
from runtime.mongo import Database
from runtime.openapi import example
from runtime.problems import Problem

router = APIRouter(prefix="/projections", tags=["operations"])

Name = Annotated[str, Path(min_length=1, max_length=100, description="Of a view, as the list names it")]


class Rebuild(BaseModel):
    """How to rebuild."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"example": {"keep_old": True}})

    keep_old: bool = False


class ProjectionAnswer(BaseModel):
    """Where one instance of a view stands, as this process sees it; `trouble` says why it does not get on."""

    name: str
    version: int
    state: str
    health: str
    epoch: int | None
    trouble: str | None
    instance: str
    position: int
    head: int
    lag_events: int
    lag_seconds: float
    parked_sequences: int


class ProjectionList(BaseModel):
    """Every instance that this process keeps current, or stands by for."""

    model_config = example(
        items=[
            {
                "name": "order_detail",
                "version": 1,
                "state": "active",
                "health": "idle",
                "epoch": 3,
                "trouble": None,
                "instance": "order_detail.v1",
                "position": 4711,
                "head": 4711,
                "lag_events": 0,
                "lag_seconds": 0.0,
                "parked_sequences": 0,
            }
        ]
    )

    items: list[ProjectionAnswer]


_ENTRY: dict[str, Any] = {
    "name": "order_detail",
    "active": "order_detail.v1",
    "generation": 2,
    "building": "order_detail.v1.g2",
    "keep_old": False,
    "previous": None,
    "previous_until": None,
    "comparison": None,
}


class EntryAnswer(BaseModel):
    """Which instance of a view is served, built and kept."""

    model_config = example(**_ENTRY)

    name: str
    active: str
    generation: int
    building: str | None
    keep_old: bool
    previous: str | None
    previous_until: datetime | None
    comparison: dict[str, Any] | None


class OwnerAnswer(BaseModel):
    """Who writes an instance: a process, in its epoch, until it stops renewing its claim."""

    epoch: int
    pid: int | None
    expires_at: datetime | None


class ProgressAnswer(BaseModel):
    """How far what is being built has come, in positions of the log."""

    position: int
    head: int


class VerificationAnswer(BaseModel):
    """Of this process: `running`, `done` with what was compared, or `failed` with the reason."""

    model_config = example(
        state="done",
        instance="order_detail.v1",
        position=4711,
        documents=1300,
        differences=0,
        failures=[],
        error=None,
    )

    state: Literal["running", "done", "failed"]
    instance: str | None = None
    position: int | None = None
    documents: int | None = None
    differences: int | None = None
    failures: list[str] = []
    error: str | None = None


class WholeEntryAnswer(EntryAnswer):
    """The same, with who writes each instance and what goes on."""

    model_config = example(
        **_ENTRY,
        owners={"active": {"epoch": 3, "pid": 4712, "expires_at": "2026-11-21T09:07:03.332000Z"}},
        progress={"position": 1200, "head": 4711},
        verification=None,
    )

    owners: dict[str, OwnerAnswer]
    progress: ProgressAnswer | None
    verification: VerificationAnswer | None


def _registry(request: Request) -> Registry:
    found: Registry = request.app.state.registry
    return found


_NOT_FOUND = "`not-found`: there is no such projection"
_REFUSED = "`rebuild-refused`: it is being rebuilt, or no previous view is kept"
_NO_JSON = "`unsupported-media-type`: not `application/json`"

Registered = Annotated[Registry, Depends(_registry)]


def _database(request: Request) -> Database:
    found: Database = request.app.state.operating.database
    return found


def _verifications(request: Request) -> Verifications:
    found: Verifications = request.app.state.verifications
    return found


Views = Annotated[Database, Depends(_database)]
Verifying = Annotated[Verifications, Depends(_verifications)]


@router.get(
    "/{name}",
    response_model=WholeEntryAnswer,
    summary="Which instances of a view there are, and what goes on",
    responses=refusals({404: _NOT_FOUND, 422: "`invalid-input`: see `errors`"}),
)
async def projection(
    name: Name, _: Operator, registry: Registered, database: Views, verifying: Verifying
) -> dict[str, Any]:
    """The registry's entry; `progress` while one is being built."""
    try:
        entry = await registry.entry(name)
    except UnknownProjectionError as error:
        raise Problem(404, "not-found", str(error)) from None
    progress = None
    if entry.building is not None:
        progress = {"position": await position_of(database, entry.building), "head": await head_of(database)}
    owners = await _owners(database, entry)
    return {**_answer(entry), "owners": owners, "progress": progress, "verification": verifying.of(name)}


@router.post(
    "/{name}/verify",
    status_code=202,
    response_model=VerificationAnswer,
    summary="Fold the log afresh and compare every document",
    responses=refusals(
        {
            404: _NOT_FOUND,
            409: "`verification-under-way`: another view is being verified",
            422: "`invalid-input`: see `errors`",
        }
    ),
)
async def verify(name: Name, _: Operator, registry: Registered, verifying: Verifying) -> dict[str, Any]:
    """Begins, in a process of its own; `GET /projections/{name}` tells what it found. Nothing is changed."""
    try:
        await registry.entry(name)
        return verifying.begin(name)
    except UnknownProjectionError as error:
        raise Problem(404, "not-found", str(error)) from None
    except VerificationUnderWay as error:
        raise Problem(409, "verification-under-way", str(error)) from None


@router.post(
    "/{name}/rebuild",
    status_code=202,
    response_model=EntryAnswer,
    summary="Build a view afresh while the old one is served",
    responses=refusals({404: _NOT_FOUND, 409: _REFUSED, 415: _NO_JSON, 422: "`invalid-input`: see `errors`"}),
)
async def rebuild(name: Name, _: Operator, registry: Registered, body: Rebuild | None = None) -> dict[str, Any]:
    """Fill a new collection from the first event on, follow the log, compare, switch. `keep_old` keeps the old one."""
    try:
        return _answer(await registry.request_rebuild(name, keep_old=body is not None and body.keep_old))
    except UnknownProjectionError as error:
        raise Problem(404, "not-found", str(error)) from None
    except RebuildRefusedError as error:
        raise Problem(409, "rebuild-refused", str(error)) from None


@router.post(
    "/{name}/rollback",
    response_model=EntryAnswer,
    summary="Serve the previous view again",
    responses=refusals({404: _NOT_FOUND, 409: _REFUSED, 422: "`invalid-input`: see `errors`"}),
)
async def rollback(name: Name, _: Operator, registry: Registered) -> dict[str, Any]:
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


async def _owners(database: Database, entry: Entry) -> dict[str, dict[str, Any]]:
    roles = {"active": entry.active, "building": entry.building, "previous": entry.previous}
    held = database[LEASES].find({"_id": {"$in": list(entry.instances)}, "owner": {"$ne": None}})
    leases = {lease["_id"]: lease async for lease in held}
    return {
        role: {"epoch": found["epoch"], "pid": found.get("pid"), "expires_at": found.get("expires_at")}
        for role, instance in roles.items()
        if instance is not None and (found := leases.get(instance)) is not None
    }
