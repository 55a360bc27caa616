"""Whose code a server's processor time goes to, by looking at it every few milliseconds of that time.

A look is counted for the innermost frame that is of a known package: what the standard library does is its caller's,
and what happens in compiled code is the last Python frame's. Where there is none, uvloop and asyncpg's protocol read
and write sockets. Idle time is not looked at.
"""

import json
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

_EVERY_SECONDS = 0.002
_ROOT = Path(__file__).parent.parent
_OWNERS = {
    "/sqlalchemy/": "SQLAlchemy",
    "/asyncpg/": "asyncpg",
    "/fastapi/": "FastAPI",
    "/pydantic/": "FastAPI",
    "/starlette/": "Starlette",
    "/uvicorn/": "uvicorn",
    "/structlog/": "the access log",
    f"{_ROOT}/runtime/access_log.py": "the access log",
    f"{_ROOT}/runtime/": "Readside's layers: tokens, headers, problems",
    f"{_ROOT}/eventstore/": "the outbox",
    f"{_ROOT}/command/": "Readside's commands",
    f"{_ROOT}/events/": "Readside's commands",
}
SOCKETS = "event loop and sockets"


@contextmanager
def counted(file: Path) -> Iterator[None]:
    """Count in the block, on the main thread; what was found stands in ``file`` afterwards, as JSON."""
    looks: Counter[str] = Counter()

    def look(_: int, frame: FrameType | None) -> None:
        looks[_owner(frame)] += 1

    signal.signal(signal.SIGPROF, look)
    signal.siginterrupt(signal.SIGPROF, False)
    signal.setitimer(signal.ITIMER_PROF, _EVERY_SECONDS, _EVERY_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        file.write_text(json.dumps(looks))


def _owner(frame: FrameType | None) -> str:
    while frame is not None:
        for part, owner in _OWNERS.items():
            if part in frame.f_code.co_filename:
                return owner
        frame = frame.f_back
    return SOCKETS
