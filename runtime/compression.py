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
from starlette.types import Message, Scope

SMALLEST = 2048
"""Bytes. Below, the headers and the time cost more than is saved."""
_ON_THE_LOOP = 64 * 1024
_LEVEL = 5
_WORTH_IT = frozenset(
    (b"application/json", b"application/problem+json", b"application/cloudevents-batch+json", b"text/plain")
)
_SUFFIX = "-gzip"
_TAG = re.compile(rf'"([^"]*?)(?:{_SUFFIX})?"')


def could_be_compressed(start: Message) -> bool:
    """Whether the answer that begins so has to be held back until its body is there."""
    media_type = b""
    for name, value in start["headers"]:
        if name == b"content-encoding":
            return False
        if name == b"content-type":
            media_type = value.partition(b";")[0]
    return media_type in _WORTH_IT


async def compressed(scope: Scope, start: Message, body: Message) -> Message:
    """The body as the caller wants it, with the headers of its start changed accordingly."""
    whole: bytes = body.get("body", b"")
    if len(whole) < SMALLEST or body.get("more_body"):
        return body
    headers = MutableHeaders(raw=start["headers"])
    headers.add_vary_header("Accept-Encoding")
    if not accepts_gzip(Headers(scope=scope).getlist("accept-encoding")):
        return body
    body = {**body, "body": await _compressed(whole)}
    _describe(headers, len(body["body"]))
    return body


def repeat_the_tag(scope: Scope, not_modified: Message) -> None:
    """Have a 304 carry the tag that the 200 would have had."""
    asked = Headers(scope=scope)
    if not accepts_gzip(asked.getlist("accept-encoding")):
        return
    headers = MutableHeaders(raw=not_modified["headers"])
    compressed_tag = _TAG.sub(rf'"\1{_SUFFIX}"', headers.get("etag", ""))
    if compressed_tag and compressed_tag in ",".join(asked.getlist("if-none-match")):
        headers.add_vary_header("Accept-Encoding")
        headers["ETag"] = compressed_tag


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


def _describe(headers: MutableHeaders, length: int) -> None:
    headers["Content-Encoding"] = "gzip"
    headers["Content-Length"] = str(length)
    if etag := headers.get("etag"):
        headers["ETag"] = _TAG.sub(rf'"\1{_SUFFIX}"', etag)
