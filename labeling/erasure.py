"""Deletes erased conversations from Label Studio, and the annotations and labels that came from it. Knows no text.

A Label Studio that `labeling.label_studio.server` runs overwrites what it deletes. For any other, its operator must
know what its database does with deleted rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from shoptalk.ports import Erased
from shoptalk.store import Store
from shoptalk.store.labeling import labels, samples

if TYPE_CHECKING:
    from labeling.label_studio.client import LabelStudio


class LabelEraser:
    """Erases samples, their tasks in Label Studio, annotations and labels."""

    name: Final = "labeling"
    covers: Final = frozenset({"samples", "annotations", "labels", "label-studio/"})

    def __init__(self, store: Store, client: Callable[[], LabelStudio]) -> None:
        """`client` is asked for only where there are tasks."""
        self._store, self._client = store, client

    def erase(self, what: Erased) -> dict[str, int]:
        """Delete from Label Studio, then from the store; return counts. Raises LabelStudioUnavailable."""
        with self._store.read() as conn:
            mine = samples.of_conversations(conn, what.conversations)
            projects = samples.projects(conn)
        tasks = {item.task_id for item in mine if item.task_id is not None}
        if mine and projects:
            client = self._client()
            for project in projects:  # also tasks that were pushed and are not recorded yet
                for found in client.find_tasks(project, [item.id for item in mine]).values():
                    tasks.update(found)
            for task in sorted(tasks):
                client.delete_task(task)
        with self._store.write() as conn:
            annotations, made = labels.erase(conn, what.conversations)
            gone = samples.erase(conn, what.conversations)
            counts = {"tasks": len(tasks), "samples": gone, "annotations": annotations, "labels": made}
            what.done(conn, counts)
        return counts
