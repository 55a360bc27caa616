"""Verifying a view for whoever asks over HTTP: in a process of its own, so that projecting does not wait for it.

One at a time in each projector. What it found is kept until the next. Nothing is changed: healing is the
command line's.
"""

import asyncio
import os
import sys
from contextlib import closing, suppress
from typing import Any

import msgspec

from eventstore import EventLog
from projector.verification import verification_of
from runtime.errors import ReadsideError
from runtime.logs import configure_logs
from runtime.mongo import mongo_database
from runtime.postgres import postgres_url
from runtime.settings import Settings, load_settings

_NICE = 10


class VerificationUnderWay(ReadsideError):
    """Another view is being verified."""


class Verifications:
    """What this process has been asked to verify, by view; `close` it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._found: dict[str, dict[str, Any]] = {}
        self._running: asyncio.Task[None] | None = None

    def of(self, view: str) -> dict[str, Any] | None:
        """``{state: running | done | failed, …}`` of the newest one, if any was asked for."""
        return self._found.get(view)

    def begin(self, view: str) -> dict[str, Any]:
        """Verify a view. Raises `VerificationUnderWay` while one is verified."""
        if self._running is not None and not self._running.done():
            raise VerificationUnderWay("Another view is being verified.")
        self._found[view] = {"state": "running"}
        self._running = asyncio.create_task(self._run(view))
        return self._found[view]

    async def close(self) -> None:
        """End what runs."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    async def _run(self, view: str) -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "projector.verifying",
            view,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            env=os.environ | self._settings.environment(),
        )
        try:
            told, _ = await process.communicate()
            self._found[view] = _decoded(told)
        finally:
            with suppress(ProcessLookupError):
                process.kill()


def _decoded(told: bytes) -> dict[str, Any]:
    try:
        found: dict[str, Any] = msgspec.json.decode(told.splitlines()[-1])
    except (IndexError, msgspec.DecodeError):
        return {"state": "failed", "error": "the process that verifies has died"}
    return found


async def _verified(settings: Settings, view: str) -> dict[str, Any]:
    database = mongo_database(settings, "verify")
    try:
        archives = settings.archives
        async with EventLog(postgres_url(settings), "verify", archive_dir=archives, pool_size=2) as event_log:
            with closing(await verification_of(database, event_log, settings, view)) as verification:
                await verification.fold(lambda *_: None)
                verified = await verification.compare(lambda _: None, lambda *_: None)
    except ReadsideError as error:
        return {"state": "failed", "error": str(error)}
    finally:
        database.client.close()
    found = msgspec.structs.asdict(verified)
    return {"state": "done", **found, "failures": list(verified.failures)}


def _main(view: str) -> None:
    os.nice(_NICE)
    settings = load_settings()
    configure_logs(settings, process="verify")
    sys.stdout.buffer.write(msgspec.json.encode(asyncio.run(_verified(settings, view))) + b"\n")


if __name__ == "__main__":
    _main(sys.argv[1])
