"""HTTP of one order as it changes: the state now, then every change of it.

Nothing is queued: a stream reads the order when it has been woken and the socket has taken what came before. Who is
slow gets the newest state, not all there were.
"""

import re
from collections.abc import AsyncIterator
from contextlib import ExitStack
from time import time

from fastapi import APIRouter, Request
from sse_starlette import ServerSentEvent
from starlette.responses import Response

from query.edge import STORE_ERRORS, CustomerOrStaff, Id, Live, documented_live
from query.live import AFTER_ERROR_SECONDS
from query.loader import StoredDocument
from query.orders import VIEW, visible_order
from query.reading import Reads, RequestReads
from query.rendering import is_parked, json_bytes, renamed
from runtime.listeners import Listener
from runtime.settings import Settings
from runtime.streams import EventStream, event, last_event_id

router = APIRouter(prefix="/orders", tags=["orders"])

_VERSION = re.compile(r"\d{1,18}", re.ASCII)


@router.get(
    "/{order_id}/stream",
    response_class=Response,
    summary="One order, now and whenever it changes",
    **documented_live(
        "`event: order` with the order's version as `id`, and in `data` what `GET /orders/{order_id}` answers. Who "
        "reads slowly gets the newest state, not all there were. `event: read-model-state` says where later changes "
        "begin to wait behind a dead letter (`parked`), and where they no longer do (`current`).",
        401,
        403,
        404,
    ),
)
async def order_stream(
    order_id: Id, caller: CustomerOrStaff, reads: RequestReads, live: Live, request: Request
) -> Response:
    """The state now, unless it is the one that `Last-Event-ID` names, then every change."""
    seen = last_event_id(request, _VERSION)
    with ExitStack() as leaving:
        # The seat first: what changes after this look wakes it.
        listener = leaving.enter_context(live.listeners.seat(VIEW, order_id, seconds=caller.expires_at - time()))
        await listener.woken()
        reading = await reads.of(VIEW)
        order = await visible_order(reading, order_id, caller)
        states = _states(reads.without_token(), listener, order, 0 if seen is None else int(seen[0]))
        settings: Settings = request.app.state.settings
        return EventStream(
            states,
            leaving.pop_all(),
            headers=reading.all_headers(parked=is_parked(order)),
            send_timeout_seconds=settings.slow_reader_seconds,
        )


async def _states(
    reads: Reads, listener: Listener, order: StoredDocument | None, seen: int
) -> AsyncIterator[ServerSentEvent]:
    assert order is not None
    order_id, was_parked = order["_id"], False
    while True:
        if order is not None:
            if order["version"] > seen:
                seen = order["version"]
                yield event(json_bytes(renamed(order, "order_id")), event_id=str(seen), name="order")
            if is_parked(order) != was_parked:
                was_parked = not was_parked
                state = {"read_model_state": "parked" if was_parked else "current"}
                yield event(json_bytes(state), name="read-model-state")
        if not await listener.woken():
            return
        try:
            order = await (await reads.of(VIEW)).find(VIEW, order_id)
        except STORE_ERRORS:
            # The views will be back, and then this looks again.
            await listener.pause(AFTER_ERROR_SECONDS)
            listener.wake()
            order = None
