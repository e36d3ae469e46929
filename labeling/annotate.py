"""A scripted annotator, for the demo and for tests.

Works through Label Studio's API one task at a time, as the labelling page does: each answer is a real annotation by
the token's user. (Label Studio's community edition cannot add annotations in bulk, except inside new tasks.) Knows how
to submit answers, but not which answer is right: `decide` knows that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

from labeling.label_studio.client import LabelStudio
from labeling.label_studio.results import AnnotatorAnswer, to_result
from shoptalk.clock import MACHINE

Decide = Callable[[Mapping[str, Any]], AnnotatorAnswer | None]
"""Takes a task's data (`dialog`, `reply`, `sample_id`, `adapter`); returns the answer, or None to skip the task."""


class ScriptedAnnotator:
    """Answers tasks in Label Studio as `decide` says."""

    def __init__(self, client: LabelStudio, decide: Decide) -> None:
        self.client = client
        self.decide = decide

    def work(self, project_id: int, limit: int | None = None, workers: int = 2) -> int:
        """Annotate all tasks that nobody answered or skipped, at most `limit`; return how many.

        More than 2 to 4 workers do not make it faster: Label Studio's server is one process.
        """
        tasks = list(islice(self.client.unannotated(project_id), limit))
        with ThreadPoolExecutor(workers, "annotator") as pool:
            return sum(pool.map(self._do, tasks))

    def _do(self, task: Mapping[str, Any]) -> int:
        began = MACHINE.monotonic()
        answer = self.decide(task["data"])
        result = to_result(answer) if answer is not None else []
        self.client.annotate(task["id"], result, lead_time_s=round(MACHINE.monotonic() - began, 3), skip=answer is None)
        return 1
