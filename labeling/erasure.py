"""Takes erased conversations out of Label Studio and out of what came back from it. Knows no text."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final

from shoptalk.errors import LabelStudioUnavailable
from shoptalk.ports import Erased
from shoptalk.store import Store, labels, samples

if TYPE_CHECKING:
    from labeling.client import LabelStudio

BUSY_S: Final = 30.0


class LabelEraser:
    """Samples, their tasks in Label Studio, annotations and labels."""

    name: Final = "labeling"
    covers: Final = frozenset({"samples", "annotations", "labels", "label-studio/"})

    def __init__(self, store: Store, client: Callable[[], LabelStudio], database: Path | None) -> None:
        """`client` is asked for only where there are tasks. `database` is a local Label Studio's own."""
        self._store, self._client, self._database = store, client, database

    def erase(self, what: Erased) -> dict[str, int]:
        with self._store.read() as conn:
            mine = samples.of_conversations(conn, what.conversations)
            projects = samples.projects(conn)
        tasks = {item.task_id for item in mine if item.task_id is not None}
        if mine and projects:
            client = self._client()
            for project in projects:  # also those that were pushed and not yet recorded
                for found in client.find_tasks(project, [item.id for item in mine]).values():
                    tasks.update(found)
            for task in sorted(tasks):
                client.delete_task(task)
            if tasks and self._database is not None:
                rewrite(self._database)
        with self._store.write() as conn:
            annotations, made = labels.erase(conn, what.conversations)
            gone = samples.erase(conn, what.conversations)
            annotations += labels.erase_stray(conn)
        return {"tasks": len(tasks), "samples": gone, "annotations": annotations, "labels": made}


def rewrite(database: Path) -> None:
    """Leave nothing of deleted rows in a local Label Studio's database file; it may run meanwhile.

    Raises LabelStudioUnavailable where it is too busy to be rewritten.
    """
    with closing(sqlite3.connect(database, timeout=BUSY_S)) as connection:
        try:
            connection.execute("PRAGMA secure_delete=ON")
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.OperationalError as error:
            raise LabelStudioUnavailable(f"Label Studio's database is busy ({error}); it is tried again") from None
