"""Migrations of the write side: ``readside migrate``, and every ``readside up``.

They run in order, one process at a time (an advisory lock), and are written to be run while the service works.
"""

from pathlib import Path

from alembic import command as alembic
from alembic.config import Config
from sqlalchemy import Connection, text

from command.background import reactions
from eventstore.beginnings import note_reactions
from runtime.postgres import make_engine


async def migrate(url: str) -> None:
    """Bring the database to the newest schema, and note the reactions that are new: they begin here.

    Safe to call from several processes at once.
    """
    engine = make_engine(url, "migrate", pool_size=1)
    try:
        async with engine.begin() as connection:
            await connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('readside migrations'))"))
            await connection.run_sync(_upgrade)
            await note_reactions(connection, [reaction.name for reaction in reactions()])
    finally:
        await engine.dispose()


def _upgrade(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    alembic.upgrade(config, "head")
