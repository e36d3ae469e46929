"""All SQL. One module per noun; each names the stage that may write it (`OWNER`).

A function takes a SQLAlchemy `Connection` inside a transaction the caller opened with `Store.read()` or
`Store.write()`, so that several nouns commit together or not at all.
"""

from shoptalk.store.database import Store

__all__ = ["Store"]
