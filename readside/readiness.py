"""Waiting for ``/readyz``, with as few means as possible: the supervisor has no use for an HTTP client's weight."""

import asyncio
import json
from collections.abc import Callable

_ASK_AGAIN_SECONDS = 0.03
_SAY_SO_AFTER_SECONDS = 5.0


async def wait_until_ready(host: str, port: int, say: Callable[[str], None]) -> None:
    """Returns once the process behind the port says that it is ready. Says every 5 s what is missing."""
    said = asyncio.get_running_loop().time()
    while (reason := await _not_ready(host, port)) is not None:
        if asyncio.get_running_loop().time() - said > _SAY_SO_AFTER_SECONDS:
            said = asyncio.get_running_loop().time()
            say(f"not ready yet: {reason}")
        await asyncio.sleep(_ASK_AGAIN_SECONDS)


async def _not_ready(host: str, port: int) -> str | None:
    try:
        answer = await asyncio.wait_for(_get(host, port, "/readyz"), 5)
    except (OSError, TimeoutError):
        return "it does not listen"
    head, _, body = answer.partition(b"\r\n\r\n")
    if head.split(b" ")[1:2] == [b"200"]:
        return None
    try:
        return str(json.loads(body)["detail"])
    except (ValueError, KeyError, TypeError):
        return "it answers nonsense"


async def _get(host: str, port: int, path: str) -> bytes:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        # HTTP/1.0: the answer ends where the connection does.
        writer.write(f"GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
        return await reader.read()
    finally:
        writer.close()
