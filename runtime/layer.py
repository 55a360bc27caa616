"""What every process does around every request: one layer, because each has its price, asked for or not.

From the outside in: the request gets its id, its line in the log, and HEAD becomes GET; on the way back an answer is
compressed where that is wanted, and completed with the headers that all answers carry.
"""

from time import perf_counter

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runtime.access_log import is_logged, log_request
from runtime.compression import compressed, could_be_compressed, repeat_the_tag
from runtime.head import has_head
from runtime.headers import complete_headers, identify


class Layer:
    """Is around the whole application but for the handler of crashes."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answering = _Answering(scope, send, identify(scope))
        if scope["method"] == "HEAD" and has_head(scope):
            # A copy: the server has to go on knowing that this was a HEAD.
            scope, answering.without_body = {**scope, "method": "GET"}, True
        if not is_logged(scope):
            await self._app(scope, receive, answering.send)
            return
        started = perf_counter()
        try:
            await self._app(scope, receive, answering.send)
        finally:
            log_request(answering.asked, scope.get("route"), answering.status, perf_counter() - started)


class _Answering:
    """One answer on its way out."""

    __slots__ = ("_held", "_request_id", "_send", "asked", "status", "without_body")

    def __init__(self, asked: Scope, send: Send, request_id: str) -> None:
        self.asked = asked
        self.status = 500
        """What it will be where nobody answers."""
        self.without_body = False
        self._send = send
        self._request_id = request_id
        self._held: Message | None = None

    async def send(self, message: Message) -> None:
        """Take part of the answer, and hand on what can be."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            if could_be_compressed(message):
                self._held = message
                return
            if self.status == 304:
                repeat_the_tag(self.asked, message)
            complete_headers(message, self._request_id)
        else:
            if self._held is not None:
                start, self._held = self._held, None
                message = await compressed(self.asked, start, message)
                complete_headers(start, self._request_id)
                await self._send(start)
            if self.without_body and message["type"] == "http.response.body":
                message = {**message, "body": b""}
        await self._send(message)
