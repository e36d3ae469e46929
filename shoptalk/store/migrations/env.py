"""Alembic's entry point: runs on the connection that `Store.migrate` hands over."""

from alembic import context

from shoptalk.store.schema import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, transaction_per_migration=False)
context.run_migrations()
