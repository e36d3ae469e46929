"""Encrypts everything at rest again with the newest key. Knows no content: it encrypts at once what it decrypts.

Other processes see the new key when they next encrypt or decrypt something, as all of them look at the key file. What
they were just encrypting with the former key is found by going through everything until a pass finds nothing.
"""

from __future__ import annotations

import fcntl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Protocol

import sqlalchemy as sa

from shoptalk.crypto import Secrets, add_key
from shoptalk.errors import ConfigurationError
from shoptalk.store import Store

BATCH: Final = 200


class EncryptedTable(Protocol):
    """A store module of rows with an encrypted body."""

    def encrypted(self, conn: sa.Connection, limit: int, after: Any = None, /) -> list[tuple[Any, bytes]]:
        """Return (key, body) of at most `limit` rows that have a body, in the keys' order, from after a key on."""
        ...

    def replace_body(self, conn: sa.Connection, key: Any, before: bytes, body: bytes, /) -> None:
        """Replace a row's body, unless it is no longer `before`."""
        ...


def rotate(store: Store, secrets: Secrets, tables: Mapping[str, EncryptedTable], file: Path | None) -> dict[str, int]:
    """Make a new key where the ring is in a file, and encrypt everything with the newest key.

    Return the number of bodies encrypted again, by table. It is safe to interrupt and repeat: no key is removed while
    something could still need it.
    """
    counts = reencrypt(store, secrets, tables)
    if file is None:
        return counts
    with file.with_name(f"{file.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        add_key(file)
        after = reencrypt(store, secrets, tables)
    return {name: counts[name] + after[name] for name in tables}


def reencrypt(store: Store, secrets: Secrets, tables: Mapping[str, EncryptedTable]) -> dict[str, int]:
    """Encrypt with the newest key what another one encrypted; return the number of bodies by table.

    It may be interrupted and repeated. Raises ConfigurationError, at the end, where some could not be decrypted: they
    are left as they are.
    """
    counts = dict.fromkeys(tables, 0)
    while True:
        passed = {name: _pass(store, secrets, table) for name, table in tables.items()}
        counts = {name: counts[name] + renewed for name, (renewed, _) in passed.items()}
        if not any(renewed for renewed, _ in passed.values()):
            break
    if locked := sum(unreadable for _, unreadable in passed.values()):
        raise ConfigurationError(f"secret_key: {locked} rows were encrypted with another key and are as they were")
    return counts


def _pass(store: Store, secrets: Secrets, table: EncryptedTable) -> tuple[int, int]:
    """Go through a table once; return how many bodies were renewed and how many cannot be decrypted."""
    renewed, unreadable, after = 0, 0, None
    while True:
        with store.read() as conn:
            rows = table.encrypted(conn, BATCH, after)
        if not rows:
            return renewed, unreadable
        fresh = []
        for key, body in rows:
            try:
                if (new := secrets.reencrypt(body)) is not None:
                    fresh.append((key, body, new))
            except ConfigurationError:
                unreadable += 1
        with store.write() as conn:
            for key, body, new in fresh:
                table.replace_body(conn, key, body, new)
        renewed, after = renewed + len(fresh), rows[-1][0]
