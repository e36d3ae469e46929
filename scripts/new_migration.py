"""Write the next numbered migration, from the difference between the tables in the code and a fresh database.

Usage: python scripts/new_migration.py "why the schema changes"
"""

import sys
import tempfile
from pathlib import Path

from alembic import command
from alembic.config import Config

from shoptalk.store import Store

versions = Path("shoptalk/store/migrations/versions")
number = 1 + max((int(p.name[:4]) for p in versions.glob("0*.py")), default=0)
with tempfile.TemporaryDirectory() as folder:
    store = Store(f"sqlite:///{folder}/new.db")
    store.migrate()
    config = Config()
    config.set_main_option("script_location", "shoptalk/store/migrations")
    with store.write() as connection:
        config.attributes["connection"] = connection
        command.revision(config, sys.argv[1], autogenerate=True, rev_id=f"{number:04d}")
