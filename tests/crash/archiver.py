"""An archive, or a restore, that kills itself at a named point: ``python -m tests.crash.archiver POINT URL FOLDER``."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from eventstore import archiving, manifest
from eventstore.archiving import Archiving
from eventstore.parquet import ArchiveFile, ArchiveWriter
from tests.crash.runner import Death, before

_ROW_GROUP = 30


class DyingConnection:
    """The archive's connection, deadly around the nth statement that begins like this."""

    def __init__(self, connection: Any, beginning: str, death: Death) -> None:
        self._connection, self._beginning, self._death = connection, beginning, death

    async def execute(self, statement: str, *values: object) -> Any:
        """The end, or the statement."""
        if statement.startswith(self._beginning):
            self._death.here()
        return await self._connection.execute(statement, *values)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


def before_statement(beginning: str) -> Callable[[Death], None]:
    """The moment before a statement, in its open transaction."""

    def install(death: Death) -> None:
        connected = Archiving.__init__

        def dying(self: Archiving, connection: Any, *others: Any) -> None:
            connected(self, DyingConnection(connection, beginning, death), *others)

        Archiving.__init__ = dying  # type: ignore[assignment, method-assign]

    return install


def after_commit(_: Death) -> None:
    """The moment after the transaction, before the copy of the manifest is written."""

    async def dying(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    manifest.write = dying  # type: ignore[assignment]


POINTS: dict[str, tuple[int, Callable[[Death], None]]] = {
    "while a file is being written": (6, before(ArchiveWriter, "write")),
    "before the file has its name": (3, before(Path, "replace")),  # every other time it is the manifest's copy
    "before the manifest has its line": (2, before_statement("ALTER TABLE event_log DETACH")),
    "before the partition is dropped": (2, before_statement("DROP TABLE")),
    "after the partition was dropped": (1, after_commit),
    "while events are being restored": (6, before(ArchiveFile, "read")),
    "before the restored partition is attached": (2, before_statement("ALTER TABLE event_log ATTACH")),
    "after the restored partition was attached": (1, after_commit),
}


async def main(point: str, url: str, folder: str) -> None:
    """Archive, or restore, everything until it dies there."""
    vars(archiving)["ROW_GROUP"] = _ROW_GROUP
    nth, install = POINTS[point]
    install(Death(nth))
    async with archiving.archiving(url, Path(folder)) as hold:
        if "restored" in point:
            await hold.restore()
        else:
            await hold.archive(await hold.candidates(datetime.max.replace(tzinfo=UTC), {}))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
