"""The databases of a benchmark: as `readside up` starts them, on a directory that goes away."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from readside.embedded.mongo import EmbeddedMongo
from readside.embedded.postgres import EmbeddedPostgres
from readside.embedded.start import start
from readside.supervisor import Supervisor


@asynccontextmanager
async def databases() -> AsyncIterator[tuple[str, str]]:
    """Their URLs."""
    with tempfile.TemporaryDirectory(prefix="readside-bench-", ignore_cleanup_errors=True) as folder:
        supervisor = Supervisor(log=lambda _name, _line: None, on_start=lambda: None)
        postgres, mongo = EmbeddedPostgres(Path(folder)), EmbeddedMongo(Path(folder))
        try:
            await start(supervisor, [postgres, mongo])
            yield postgres.url, mongo.url
        finally:
            await supervisor.end()
            postgres.clear()
