"""The data directory of `readside up`: one supervisor at a time, told apart by a lock that dies with its holder."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from readside import run_file
from readside.errors import InUseError, StartError


@contextmanager
def held(data_dir: Path) -> Iterator[None]:
    """Make the directory where it is missing, and hold it. Raises `InUseError` where another `up` does."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        lock = os.open(data_dir / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StartError(f"cannot use {data_dir} as data directory ({error.strerror})") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        run = run_file.read_living(data_dir)
        holder = f" (process {run.supervisor.pid})" if run else ""
        os.close(lock)
        raise InUseError(f"another `readside up`{holder} is running on {data_dir}") from None
    try:
        yield
    finally:
        os.close(lock)
