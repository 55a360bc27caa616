"""Alembic's entry: always runs on the connection that `command.migrations.migrate` hands over."""

from alembic import context

from command.database import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
