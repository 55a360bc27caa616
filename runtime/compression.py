"""Answers compressed with gzip, where the caller asks for it and it is worth it.

Only answers that are there as a whole: a stream is never held back. Not by Starlette's own middleware, which
compresses on the event loop, where the statistics of a year would hold everybody else up, and which leaves the strong
ETag as it is. A strong tag names the bytes, so the compressed answer has one of its own: ``"3-gzip"``. It names the
same version in ``If-Match`` and ``If-None-Match``.
"""

import asyncio
import gzip
import re

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SMALLEST = 2048
"""Bytes. Below, the headers and the time cost more than is saved."""
_ON_THE_LOOP = 64 * 1024
_LEVEL = 5
_WORTH_IT = ("application/json", "application/problem+json", "application/cloudevents-batch+json", "text/plain")
_SUFFIX = "-gzip"
_TAG = re.compile(rf'"([^"]*?)(?:{_SUFFIX})?"')


class Compression:
    """Compresses what passes."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        asked = Headers(scope=scope)
        is_asked_for = accepts_gzip(asked.getlist("accept-encoding"))
        held: Message | None = None

        async def compressing(message: Message) -> None:
            nonlocal held
            if message["type"] == "http.response.start":
                if _could_be(message):
                    held = message
                    return
                if message["status"] == 304 and is_asked_for:
                    _repeat_the_tag(message, asked.getlist("if-none-match"))
            elif held is not None:
                start, held = held, None
                body: bytes = message.get("body", b"")
                if len(body) >= SMALLEST and not message.get("more_body"):
                    headers = MutableHeaders(raw=start["headers"])
                    headers.add_vary_header("Accept-Encoding")
                    if is_asked_for:
                        message = {**message, "body": await _compressed(body)}
                        _describe(headers, len(message["body"]))
                await send(start)
            await send(message)

        await self._app(scope, receive, compressing)


def accepts_gzip(accept_encoding: list[str]) -> bool:
    """Whether ``Accept-Encoding`` of RFC 9110 asks for gzip; nothing said is not asked."""
    weights: dict[str, bool] = {}
    for part in ",".join(accept_encoding).lower().split(","):
        coding, *parameters = (piece.strip() for piece in part.split(";"))
        weights[coding] = not any(re.fullmatch(r"q\s*=\s*0(\.0*)?", parameter) for parameter in parameters)
    return weights.get("gzip", weights.get("x-gzip", weights.get("*", False)))


def plain_tag(etag: str) -> str:
    """The tag of the same answer uncompressed."""
    return _TAG.sub(r'"\1"', etag)


async def _compressed(body: bytes) -> bytes:
    if len(body) <= _ON_THE_LOOP:
        return gzip.compress(body, _LEVEL, mtime=0)
    return await asyncio.to_thread(gzip.compress, body, _LEVEL, mtime=0)


def _could_be(start: Message) -> bool:
    headers = Headers(raw=start["headers"])
    media_type = headers.get("content-type", "").partition(";")[0]
    return media_type in _WORTH_IT and "content-encoding" not in headers


def _describe(headers: MutableHeaders, length: int) -> None:
    headers["Content-Encoding"] = "gzip"
    headers["Content-Length"] = str(length)
    if etag := headers.get("etag"):
        headers["ETag"] = _TAG.sub(rf'"\1{_SUFFIX}"', etag)


def _repeat_the_tag(not_modified: Message, if_none_match: list[str]) -> None:
    # 304 carries the tag that the 200 would have had.
    headers = MutableHeaders(raw=not_modified["headers"])
    compressed = _TAG.sub(rf'"\1{_SUFFIX}"', headers.get("etag", ""))
    if compressed and compressed in ",".join(if_none_match):
        headers.add_vary_header("Accept-Encoding")
        headers["ETag"] = compressed
