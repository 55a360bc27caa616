"""HTTP of the sales as they move: the sums now, then whenever they are others.

All who ask for the same share one query per change. However fast sales come, each stream asks again only after a pause
of some times what the query took: who watches must not slow down what is watched.
"""

import hashlib
import re
from collections.abc import AsyncIterator
from contextlib import ExitStack
from dataclasses import dataclass
from time import monotonic, time

from fastapi import APIRouter, Request
from sse_starlette import ServerSentEvent
from starlette.responses import Response

from query.edge import STORE_ERRORS, Live, Staff, documented_live
from query.freshness import Checkpoint
from query.live import AFTER_ERROR_SECONDS, LiveViews
from query.reading import Reading, Reads, RequestReads
from query.rendering import json_bytes
from query.sales import Granularity, Group, Row
from query.statistics import VIEW, From, To, sales_answer, sales_query
from runtime.listeners import Listener
from runtime.settings import Settings
from runtime.streams import EventStream, event, last_event_id

router = APIRouter(prefix="/statistics", tags=["statistics"])

MOST_ROWS = 5_000
"""Of one state: it is sent whole, again and again, to everybody who listens."""
_SHORTEST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 10.0
_PAUSE_PER_QUERY = 4

_PROGRESS = re.compile(r"(\d{1,18})(?:\.(\d{1,9}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class SalesAsked:
    """What a caller asks for, as they asked for it: without days it is always the last ones."""

    first_day: str | None
    last_day: str | None
    granularity: Granularity
    group_by: Group

    async def state(self, live: LiveViews, reading: Reading) -> "SalesState":
        """The sums as of now, or of the same moment as somebody else's."""
        query = sales_query(reading, self.first_day, self.last_day, self.granularity, self.group_by)
        checkpoint = reading.checkpoint(VIEW)

        async def computed() -> SalesState:
            return SalesState.of(checkpoint, await sales_answer(reading, query, most_rows=MOST_ROWS))

        found: SalesState = await live.shared.once((query, checkpoint), computed)
        return found


@dataclass(frozen=True, slots=True)
class SalesState:
    """Sums, and how far the view had come, at least, when they were read."""

    progress: tuple[int, int]
    data: bytes
    digest: bytes
    """Of everything but the time up to which it is complete: that moves with every event."""

    @classmethod
    def of(cls, checkpoint: Checkpoint, answer: Row) -> "SalesState":
        """An answer of the plain call."""
        data = json_bytes(answer)
        digest = hashlib.sha256(json_bytes({**answer, "as_of": None})).digest()
        return cls(_progress_of(checkpoint), data, digest)

    def event(self) -> ServerSentEvent:
        """As it is sent."""
        position, unparked = self.progress
        return event(self.data, event_id=f"{position}.{unparked}" if unparked else str(position), name="sales")


@router.get(
    "/sales/stream",
    response_class=Response,
    summary="Sales per period, now and whenever they change",
    **documented_live(
        "`event: sales` with the position of the view as `id`, and in `data` what `GET /statistics/sales` answers, of "
        f"at most {MOST_ROWS} rows. Sales that come faster than they can be summed, or read, are told together.",
        401,
        403,
    ),
)
async def sales_stream(
    caller: Staff,
    reads: RequestReads,
    live: Live,
    request: Request,
    first_day: From = None,
    last_day: To = None,
    granularity: Granularity = "day",
    group_by: Group = "none",
) -> Response:
    """The sums now, unless `Last-Event-ID` has seen as much, then whenever they are others."""
    seen = last_event_id(request, _PROGRESS)
    asked = SalesAsked(first_day, last_day, granularity, group_by)
    with ExitStack() as leaving:
        # The seat first: what changes after this look wakes it.
        listener = leaving.enter_context(live.listeners.seat(VIEW, seconds=caller.expires_at - time()))
        await listener.woken()
        reading = await reads.of(VIEW)
        state = await asked.state(live, reading)
        states = _states(asked, live, reads.without_token(), listener, state)
        if seen is None or (int(seen[1]), int(seen[2] or 0)) < state.progress:
            states = _after(state, states)
        settings: Settings = request.app.state.settings
        return EventStream(
            states,
            leaving.pop_all(),
            headers=reading.all_headers(),
            send_timeout_seconds=settings.slow_reader_seconds,
        )


async def _after(first: SalesState, others: AsyncIterator[ServerSentEvent]) -> AsyncIterator[ServerSentEvent]:
    yield first.event()
    async for one in others:
        yield one


async def _states(
    asked: SalesAsked, live: LiveViews, reads: Reads, listener: Listener, known: SalesState
) -> AsyncIterator[ServerSentEvent]:
    """Every state that is another than the one before."""
    digest = known.digest
    while await listener.woken():
        began = monotonic()
        try:
            state = await asked.state(live, await reads.of(VIEW))
        except STORE_ERRORS:
            # The views will be back, and then this looks again.
            await listener.pause(AFTER_ERROR_SECONDS)
            listener.wake()
            continue
        took = monotonic() - began
        if state.digest != digest:
            digest = state.digest
            yield state.event()
        await listener.pause(min(max(_SHORTEST_PAUSE_SECONDS, took * _PAUSE_PER_QUERY), _LONGEST_PAUSE_SECONDS))


def _progress_of(checkpoint: Checkpoint) -> tuple[int, int]:
    return checkpoint.position, checkpoint.unparked or 0
