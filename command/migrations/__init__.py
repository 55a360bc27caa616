"""Migrations of the write side: ``readside migrate``, and every ``readside up``.

They run in order, one process at a time (an advisory lock), and are written to be run while the service works.
"""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text

from runtime.postgres import make_engine


async def migrate(url: str) -> None:
    """Bring the database to the newest schema. Safe to call from several processes at once."""
    engine = make_engine(url, "migrate", pool_size=1)
    try:
        async with engine.begin() as connection:
            await connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('readside migrations'))"))
            await connection.run_sync(_upgrade)
    finally:
        await engine.dispose()


def _upgrade(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
