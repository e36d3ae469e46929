"""Notices what was deleted in Label Studio while a round waits for it.

A task that somebody deleted counts as skipped: whoever did it wanted no answer, and the round must not wait for one.
Where the whole project is gone, its tasks are pushed again, into a new one. Erasure removes samples together with their
tasks, so what it deletes is never missed here. Does not know what answers say.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from labeling.label_studio.client import LabelStudio
from shoptalk.domain import Sample
from shoptalk.store import Store, rounds
from shoptalk.store.labeling import labels, samples
from shoptalk.store.labeling.labels import Annotation

log = structlog.get_logger(__name__)


class MissingTasks:
    """Finds tasks of waiting rounds that are in Label Studio no longer. `client` is asked for when it is needed."""

    def __init__(self, store: Store, client: Callable[[], LabelStudio], project_name: str) -> None:
        self._store, self._client, self._project = store, client, project_name

    def run_once(self) -> None:
        """Look at the tasks of the round that waits for labels, if there is one."""
        with self._store.read() as conn:
            project = samples.project(conn, self._project)
            waiting = [item.id for item in rounds.unfinished(conn) if item.awaits_labels]
            open_tasks = [sample for round_id in waiting for sample in samples.unanswered(conn, round_id)]
        if project is None or not open_tasks:
            return
        client = self._client()
        title = client.project_title(project[0])
        there = client.find_tasks(project[0], [sample.id for sample in open_tasks]) if title is not None else {}
        if title is None or (not there and title != self._project):  # another one, of another Label Studio perhaps
            with self._store.write() as conn:
                samples.clear_tasks(conn, [sample.id for sample in open_tasks])
                samples.forget_project(conn, self._project)
            log.warning("project deleted in Label Studio; its tasks are pushed again", tasks=len(open_tasks))
        elif missing := [sample for sample in open_tasks if sample.id not in there]:
            self._skip(missing)

    def _skip(self, missing: list[Sample]) -> None:
        with self._store.write() as conn:
            kept = samples.find_many(conn, [sample.id for sample in missing])  # else erased meanwhile
            for sample in kept.values():
                if sample.task_id is not None and not labels.annotations_of(conn, sample.id):
                    labels.put_annotation(conn, skipped(sample, self._store))
        log.info("tasks deleted in Label Studio count as skipped", tasks=len(missing))


def skipped(sample: Sample, store: Store) -> Annotation:
    """Return the annotation of a task that was deleted; no task has its id, which is negative."""
    return Annotation(-(sample.task_id or 0), sample.id, None, True, {}, None, store.now())
