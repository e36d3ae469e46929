"""All SQL. One module per table or group of tables, in the folder of the stage that writes it, or with its `OWNER`.

A function takes a SQLAlchemy `Connection` inside a transaction that the caller opened with `Store.read()` or
`Store.write()`, so that changes of several tables commit together or not at all.
"""

from shoptalk.store.database import Store

__all__ = ["Store"]
