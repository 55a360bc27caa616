"""One request's reading of views: which instances, how far they have come, and what the answer says about it.

`Reads.of` first waits for what the caller has done (``Consistency-Token``), then notes how far the views have come;
only then is a document read. In this order what the headers say is a lower bound of what the answer includes. Noting
it after the read would promise effects that the document may lack.
"""

import math
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Any

from fastapi import Depends, Request
from starlette.responses import Response

from query.follower import Follower
from query.freshness import Checkpoint, LogState, lag_seconds
from query.loader import Loader, StoredDocument
from query.remembered import Remembered, Rendered
from query.rendering import json_bytes
from runtime import tracing
from runtime.clock import now
from runtime.consistency import ConsistencyTokens
from runtime.mongo import ReadCollection, ReadDatabase
from runtime.parameters import only_known_parameters
from runtime.preferences import wait_seconds
from runtime.problems import Problem

DEFAULT_WAIT_SECONDS = 2
LONGEST_WAIT_SECONDS = 30

_tokens_of = lru_cache(maxsize=4)(ConsistencyTokens)

PRIVATE = {"Cache-Control": "private, no-cache", "Vary": "Authorization"}
"""Of answers that depend on who asks."""
PUBLIC = {"Cache-Control": "no-cache"}


@dataclass(frozen=True, slots=True)
class ReadModels:
    """What every request of a process reads from."""

    database: ReadDatabase
    follower: Follower
    loader: Loader
    remembered: Remembered


class Reading:
    """The views of one request, at least as complete as ``headers`` say."""

    def __init__(
        self,
        models: ReadModels,
        checkpoints: Mapping[str, Checkpoint],
        log: LogState,
        headers: Mapping[str, str],
        at: datetime,
        *,
        has_token: bool,
    ) -> None:
        self._models = models
        self._checkpoints = checkpoints
        self.log = log
        self.at = at
        self._has_token = has_token
        # Lists, not generators: most readings are of one view, and a generator costs more than what it gives.
        self.headers = {
            "Read-Model-Position": str(min([one.position for one in checkpoints.values()])),
            "Read-Model-Lag-Seconds": decimal(max([lag_seconds(one, log, at) for one in checkpoints.values()])),
            **headers,
        }

    def time_zone_of(self, view: str) -> str:
        """The business time zone of the days that the view counts."""
        return self._checkpoints[view].time_zone or self.log.time_zone

    async def find(self, view: str, document_id: str) -> StoredDocument | None:
        """A document by its id, read now; it is shared, so do not change it.

        Raises a `Problem` where the caller's token asks for one whose very first event waits as a dead letter.
        """
        instance = self._checkpoints[view].instance
        found = await self._models.loader.find(instance, document_id)
        if found is None and self._has_token and await self.is_held_back(view, document_id):
            raise self._parked()
        return found

    async def rendered(
        self, view: str, document_id: str, render: Callable[[StoredDocument], Rendered]
    ) -> Rendered | None:
        """The same as it is answered, or as it was answered before if nothing is known to have written it since.

        Not for who was woken by the write itself: the follower may hear of it later.
        """
        instance, remembered = self._checkpoints[view].instance, self._models.remembered
        rendered = remembered.get(instance, document_id)
        if rendered is None:
            with remembered.reading(instance, document_id) as read:
                found = await self.find(view, document_id)
                if found is not None:
                    rendered = render(found)
                    read.keep(rendered)
        return rendered

    async def is_held_back(self, view: str, document_id: str) -> bool:
        """Whether events of a document wait as dead letters, also where there is no document yet to be marked."""
        instance = self._checkpoints[view].instance
        waiting = {"instance": instance, "documents": document_id, "state": {"$in": ["failed", "waiting"]}}
        return await self._models.database["dead_letters"].find_one(waiting, {"_id": 1}) is not None

    def collection(self, view: str) -> ReadCollection:
        """The collection of the instance that is served."""
        return self._models.database[self._checkpoints[view].instance]

    def checkpoint(self, view: str) -> Checkpoint:
        """How far the view had come before it was read."""
        return self._checkpoints[view]

    def as_of(self, view: str) -> datetime | None:
        """When the last event that the view is known to include was recorded."""
        return self._checkpoints[view].as_of

    def answer(self, content: Any, headers: Mapping[str, str] = PRIVATE, *, parked: bool = False) -> Response:
        """200 with the freshness of what was read."""
        return self.answer_rendered(json_bytes(content), headers, parked=parked)

    def answer_rendered(self, body: bytes, headers: Mapping[str, str] = PRIVATE, *, parked: bool = False) -> Response:
        """The same, of JSON as it is sent."""
        return Response(body, 200, self.all_headers(headers, parked=parked), "application/json")

    def not_modified(self, headers: Mapping[str, str], *, parked: bool = False) -> Response:
        """304, as fresh as the 200 would have been."""
        return Response(None, 304, self.all_headers(headers, parked=parked))

    def not_found(self, what: str) -> Problem:
        """404 for what does not exist or is not the caller's to see; fresh up to here, it is not there *yet*."""
        return Problem(404, "not-found", f"There is no such {what}.", headers=self.headers)

    def all_headers(self, headers: Mapping[str, str] = PRIVATE, *, parked: bool = False) -> dict[str, str]:
        """These, and the freshness. Raises a `Problem` where a parked document is to satisfy the caller's token."""
        if parked and self._has_token:
            # What the checkpoint has seen is not in this document: it satisfies no token.
            raise self._parked()
        state = {"Read-Model-State": "parked"} if parked else {}
        return {**self.headers, **headers, **state}

    def _parked(self) -> Problem:
        detail = "Changes of this document wait behind a dead letter; without Consistency-Token you get it as it is."
        return Problem(503, "read-model-parked", detail, headers={**self.headers, "Read-Model-State": "parked"})


class Reads:
    """Opens the readings of one request."""

    def __init__(self, request: Request) -> None:
        self.models: ReadModels = request.app.state.read_models
        self._token = request.headers.get("consistency-token")
        self._wait = wait_seconds(request.headers.getlist("prefer"), longest=LONGEST_WAIT_SECONDS)

    async def of(self, *views: str) -> Reading:
        """Read these views, after the command of the caller's token. Raises `Problem`."""
        log = await self.log_seen_by(*views)
        built: dict[str, Checkpoint] = {}
        for view in views:
            found = self.models.follower.checkpoint(view)
            if found is None:
                raise _not_made()
            built[view] = found
        return Reading(self.models, built, log, self._applied(), now(), has_token=self._token is not None)

    def without_token(self) -> "Reads":
        """Of the same caller, who has seen by now what they have done."""
        reads = copy(self)
        reads._token = reads._wait = None
        return reads

    async def log_seen_by(self, *views: str) -> LogState:
        """The log as it was last told, when these views have seen the command of the caller's token."""
        follower = self.models.follower
        if self._token is not None:
            await self._until_seen(self._token, views)
        if not follower.available:
            raise unavailable()
        if follower.log is None:
            raise _not_made()
        return follower.log

    async def _until_seen(self, token: str, views: tuple[str, ...]) -> None:
        follower = self.models.follower

        def seen() -> bool:
            # The served instance may be another one by now: it is looked up every time.
            checkpoints = [follower.checkpoint(view) for view in views]
            if follower.log is None:
                return False
            transaction_id = _tokens_of(follower.log.deployment_id).read(token)
            if transaction_id is None:
                raise Problem(400, "unknown-consistency-token", "That is no Consistency-Token of this deployment.")
            return follower.available and all(one is not None and one.sees(transaction_id) for one in checkpoints)

        seconds = DEFAULT_WAIT_SECONDS if self._wait is None else self._wait
        with tracing.span("wait for the view", readside__projection=",".join(views)):
            reached = await follower.reaches(seen, seconds)
        if reached:
            return
        if not follower.available:
            raise unavailable()
        raise _behind(f"What that token stands for was not visible within {seconds} seconds.", self._applied())

    def _applied(self) -> dict[str, str]:
        return {} if self._wait is None else {"Preference-Applied": f"wait={self._wait}"}


async def _reads(request: Request) -> Reads:
    await only_known_parameters(request)
    return Reads(request)


RequestReads = Annotated[Reads, Depends(_reads)]


def decimal(seconds: float) -> str:
    """Seconds to the millisecond, rounded up: a lag is never told shorter than it is."""
    return f"{math.ceil(seconds * 1000) / 1000:.3f}" if seconds else "0.000"


def unavailable() -> Problem:
    """503 while MongoDB is away."""
    return Problem(503, "unavailable", "The views cannot be read just now; try again.", headers={"Retry-After": "1"})


def _not_made() -> Problem:
    return _behind("The projector has not made this view yet.")


def _behind(detail: str, headers: Mapping[str, str] | None = None) -> Problem:
    return Problem(503, "read-model-behind", detail, headers={"Retry-After": "1", **(headers or {})})
