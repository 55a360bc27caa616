"""``run.json`` of a data directory: what the running `readside up` has started, and where it listens.

Readable by its owner alone (the URLs may hold passwords). It is replaced in one step, so that a reader never sees
half of it, and removed at the end; one that outlived its supervisor is recognised by the supervisor's start time.
"""

import os
from pathlib import Path

import msgspec
import psutil

from readside.programs import is_alive


class Running(msgspec.Struct, frozen=True):
    """A process, recognised by its start time even after its id has been given to another one."""

    pid: int
    started: float

    @classmethod
    def of(cls, pid: int) -> "Running":
        """The process that has this id now, or had it a moment ago."""
        try:
            return cls(pid, psutil.Process(pid).create_time())
        except psutil.Error:
            return cls(pid, 0.0)

    def process(self) -> psutil.Process | None:
        """The living process, or none."""
        try:
            found = psutil.Process(self.pid)
            is_same = found.create_time() == self.started
        except psutil.Error:
            return None
        return found if is_same and is_alive(found) else None


class Run(msgspec.Struct, frozen=True):
    """One run of `readside up`."""

    supervisor: Running
    postgres_url: str
    mongo_url: str
    host: str
    command_port: int
    query_port: int
    projector_port: int
    children: dict[str, Running] = {}
    payment_gateway_url: str | None = None
    demo: bool = False
    """Whether it was started as a shop to look at (`up --demo`)."""
    console_port: int | None = None

    @property
    def local_host(self) -> str:
        """Where this machine finds what listens on ``host``, as it stands in a URL."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 - compared, not bound
        return f"[{host}]" if ":" in host else host

    @property
    def api_urls(self) -> dict[str, str]:
        """Of the three APIs, by the names of their settings."""
        ports = {
            "command_url": self.command_port,
            "query_url": self.query_port,
            "projector_url": self.projector_port,
        }
        return {name: f"http://{self.local_host}:{port}" for name, port in ports.items()}


def write(data_dir: Path, run: Run) -> None:
    """Replace the file in one step."""
    fresh = data_dir / "run.json.new"
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(run), indent=2) + b"\n")
    fresh.replace(data_dir / "run.json")


def read(data_dir: Path) -> Run | None:
    """What the file says, whether or not its supervisor still lives."""
    try:
        return msgspec.json.decode((data_dir / "run.json").read_bytes(), type=Run)
    except (OSError, msgspec.DecodeError):
        return None


def read_living(data_dir: Path) -> Run | None:
    """What the file says, if its supervisor still lives."""
    run = read(data_dir)
    return run if run is not None and run.supervisor.process() is not None else None


def remove(data_dir: Path) -> None:
    """Nothing runs any more."""
    (data_dir / "run.json").unlink(missing_ok=True)
