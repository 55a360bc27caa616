"""Connections to MongoDB, all made in one way: majority writes, no silent fallback from a replica set."""

from typing import Any

from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorDatabase
from pymongo import AsyncMongoClient
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import PyMongoError

from runtime.errors import SettingsError
from runtime.mongo_pools import MONGO_POOLS
from runtime.settings import Settings

Database = AsyncIOMotorDatabase[dict[str, Any]]

ReadDatabase = AsyncDatabase[dict[str, Any]]
"""By the driver's own asyncio: a call costs half of what it costs by motor's threads, and that is most of a read."""
ReadCollection = AsyncCollection[dict[str, Any]]


def mongo_url(settings: Settings) -> str:
    """The configured URL, or one readable sentence."""
    if settings.mongo_url is None:
        raise SettingsError("READSIDE_MONGO_URL is not set (`readside up` sets it for the processes it starts)")
    return settings.mongo_url


def mongo_database(settings: Settings, name: str) -> Database:
    """The database of the views, through a client named in MongoDB's logs."""
    client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(mongo_url(settings), **_options(name))
    MONGO_POOLS.add(client)
    return client[settings.mongo_database]


def read_database(settings: Settings, name: str) -> ReadDatabase:
    """The same for a process that only reads."""
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(mongo_url(settings), **_options(name))
    MONGO_POOLS.add(client)
    return client[settings.mongo_database]


def _options(name: str) -> dict[str, Any]:
    return {
        "appname": f"readside {name}",
        "serverSelectionTimeoutMS": 5_000,
        "connectTimeoutMS": 5_000,
        "socketTimeoutMS": 30_000,
        "w": "majority",
        "journal": True,
        "retryWrites": True,
        "tz_aware": True,
    }


async def refuse_standalone(settings: Settings) -> None:
    """Raises `SettingsError` unless this is a replica set or a sharded cluster (a store that is down is no answer)."""
    client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(mongo_url(settings), serverSelectionTimeoutMS=1_000)
    try:
        hello = await client.admin.command("hello")
    except PyMongoError:
        return
    finally:
        client.close()
    if "setName" not in hello and hello.get("msg") != "isdbgrid":
        raise SettingsError(
            "READSIDE_MONGO_URL: a standalone MongoDB has no transactions; "
            "give a replica set (one member is enough) or a sharded cluster"
        )
