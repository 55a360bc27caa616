"""A projector in a process of its own, as `readside up` runs it, on databases of a benchmark."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_AS_EVER = "from readside.cli import main; main()"


@contextmanager
def running_projector(urls: tuple[str, str], database: str, *, first: str = "") -> Iterator[subprocess.Popen[bytes]]:
    """The process, ended with the block; ``first`` is code that it runs before anything else."""
    environment = {
        **os.environ,
        "READSIDE_POSTGRES_URL": urls[0],
        "READSIDE_MONGO_URL": urls[1],
        "READSIDE_MONGO_DATABASE": database,
        "READSIDE_JWT_SECRET": "x" * 32,
        "READSIDE_LOG_LEVEL": "error",  # the audit misses the tables of the orders, of which there is only the log
    }
    command = [sys.executable, "-c", f"{first}\n{_AS_EVER}", "projector", "--port", "0"]
    process = subprocess.Popen(command, env=environment)  # noqa: S603  (our own code)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()
