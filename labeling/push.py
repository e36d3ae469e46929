"""Sends sampled replies to Label Studio, each once, with the bot's reply as the prediction.

A reconciler: it may be killed anywhere and run again. Label Studio deduplicates nothing, so the samples' tasks are
looked up by `data.sample_id` before and after each import; where two runs crossed, the oldest task stays. Only text
from the store, which is scrubbed, is sent. Knows neither how samples are chosen nor how annotations come back.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa

from labeling.label_studio.client import LabelStudio
from labeling.label_studio.config import label_config
from labeling.label_studio.results import correction
from shoptalk.domain import Inference, Sample, Turn
from shoptalk.store.chat import inferences
from shoptalk.store.database import Store
from shoptalk.store.ingest import turns
from shoptalk.store.labeling import samples

BATCH: Final = 100
MOST: Final = 10_000
NOT_KEPT: Final = "(this message could not be kept)"


class Push:
    """Makes a task in Label Studio for each sample in the store."""

    def __init__(self, store: Store, client: LabelStudio, project_name: str) -> None:
        self.store = store
        self.client = client
        self.project_name = project_name

    def run_once(self) -> int:
        """Push samples without a task; return how many have one now."""
        with self.store.read() as conn:
            pending = samples.unpushed(conn, MOST)
        if not pending:
            return 0
        project_id = self._project()
        return sum(self._push(project_id, pending[i : i + BATCH]) for i in range(0, len(pending), BATCH))

    def _project(self) -> int:
        """Return the project's id; record it where it is new, with nothing pulled from it yet."""
        project_id = self.client.ensure_project(self.project_name, label_config())
        with self.store.read() as conn:
            known = samples.project(conn, self.project_name)
        if known is None or known[0] != project_id:
            with self.store.write() as conn:
                samples.set_project(conn, self.project_name, project_id, None)
        return project_id

    def _push(self, project_id: int, batch: Sequence[Sample]) -> int:
        ids = [item.id for item in batch]
        there = self.client.find_tasks(project_id, ids)  # left by a run that was killed before it recorded them
        with self.store.read() as conn:
            tasks = [task for item in batch if item.id not in there and (task := _task(conn, item))]
        if tasks:
            self.client.import_tasks(project_id, tasks)
            there = self.client.find_tasks(project_id, ids)
        for _, *duplicates in there.values():
            for task_id in duplicates:
                self.client.delete_task(task_id)
        with self.store.write() as conn:
            samples.set_tasks(conn, {sample_id: task_id for sample_id, (task_id, *_) in there.items()})
        return len(there)


def _task(conn: sa.Connection, sample: Sample) -> dict[str, Any] | None:
    """Return the sample as a task; None where its text is gone meanwhile, by erasure for instance."""
    path = turns.path_to(conn, sample.turn_id)
    if not path or path[-1].text is None:
        return None
    reply = path[-1]
    inference = inferences.find(conn, reply.inference_id) if reply.inference_id else None
    data: dict[str, Any] = {"sample_id": sample.id, "dialog": dialog(path[:-1]), "reply": reply.text}
    if inference is None:
        return {"data": data}
    data["adapter"] = inference.adapter
    return {"data": data, "predictions": [_prediction(inference, reply.text or "")]}


def dialog(path: Sequence[Turn]) -> list[Mapping[str, str]]:
    """Return the turns as the labelling page shows them: by the customer, the bot, or an agent of the shop."""
    return [{"role": _speaker(turn), "text": turn.text or NOT_KEPT} for turn in path if turn.role != "system"]


def _speaker(turn: Turn) -> str:
    if turn.role == "user":
        return "customer"
    return "bot" if turn.inference_id else "agent"


def _prediction(inference: Inference, reply: str) -> dict[str, Any]:
    score = math.exp(min(0.0, inference.mean_logprob)) if math.isfinite(inference.mean_logprob) else 0.0
    return {"model_version": inference.adapter, "score": score, "result": [correction(reply)]}
