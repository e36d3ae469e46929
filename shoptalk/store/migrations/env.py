"""Alembic's entry point: runs on the connection that `Store.migrate` passes in."""

from alembic import context

import shoptalk.store.schema  # noqa: F401 - it defines the tables of `metadata`
from shoptalk.store.columns import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, transaction_per_migration=False)
context.run_migrations()
