"""A scripted annotator, for the demo and for tests.

Works through Label Studio's API one task at a time, as the labelling page does: each answer is a real annotation by
the token's user. (Label Studio's community edition has no bulk way: annotations can come in bulk only inside new
tasks.) Knows how to submit answers, not what is right: `answer` decides that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

from labeling.client import LabelStudio
from labeling.results import Answer, to_result
from shoptalk.clock import MACHINE

Decide = Callable[[Mapping[str, Any]], Answer | None]
"""Given a task's data (`dialog`, `reply`, `sample_id`, `adapter`): the answer, or None to press Skip."""


class ScriptedAnnotator:
    """Answers tasks as `answer` says."""

    def __init__(self, client: LabelStudio, answer: Decide) -> None:
        self.client = client
        self.answer = answer

    def work(self, project_id: int, limit: int | None = None, workers: int = 2) -> int:
        """Annotate all tasks nobody answered or skipped (at most `limit`); how many that were.

        More than 2 to 4 workers do not help: Label Studio's server is one process.
        """
        tasks = list(islice(self.client.unannotated(project_id), limit))
        with ThreadPoolExecutor(workers, "annotator") as pool:
            return sum(pool.map(self._do, tasks))

    def _do(self, task: Mapping[str, Any]) -> int:
        began = MACHINE.monotonic()
        answer = self.answer(task["data"])
        result = to_result(answer) if answer is not None else []
        self.client.annotate(task["id"], result, lead_time_s=round(MACHINE.monotonic() - began, 3), skip=answer is None)
        return 1
