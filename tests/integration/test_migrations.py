"""The tables that the migrations make are those that the contexts' storage declares."""

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection

from command import contexts
from command.database import metadata
from runtime.postgres import make_engine


async def test_migrations_make_what_storage_declares(postgres_url: str) -> None:
    list(contexts.brought("storage"))
    engine = make_engine(postgres_url, "test")
    try:
        async with engine.connect() as connection:
            assert await connection.run_sync(_differences) == []
    finally:
        await engine.dispose()


def _differences(connection: Connection) -> list[object]:
    def is_declared(name: str | None, kind: str, _parents: object) -> bool:
        # The event store's own tables are plain SQL, and declared nowhere else.
        return kind != "table" or name in metadata.tables

    migration = MigrationContext.configure(connection, opts={"include_name": is_declared, "compare_type": True})
    return list(compare_metadata(migration, metadata))
