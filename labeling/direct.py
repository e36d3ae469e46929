"""Makes labels without Label Studio, for the demo on a machine that lacks it.

Tasks, answers and labels are the same: a scripted answer is stored as an annotation and a label as if it had been
pulled. People cannot annotate this way.
"""

from __future__ import annotations

import zlib
from typing import Any

from labeling.agreement import combine
from labeling.annotate import Decide
from labeling.label_studio.results import from_result, to_result
from labeling.pull import ScrubCorrection
from labeling.push import dialog
from shoptalk.domain import Sample
from shoptalk.store import Store
from shoptalk.store.ingest import turns
from shoptalk.store.labeling import labels, samples
from shoptalk.store.labeling.labels import Annotation


class DirectAnnotator:
    """Answers samples as `decide` says. Corrections pass the scrubber, as pulled ones do."""

    def __init__(self, store: Store, scrub_correction: ScrubCorrection, decide: Decide) -> None:
        self._store, self._scrub, self._decide = store, scrub_correction, decide

    def work(self) -> int:
        """Answer every sample that has no task yet; return how many got an answer."""
        with self._store.read() as conn:
            pending = samples.unpushed(conn, 10_000)
        return sum(self._do(sample) for sample in pending)

    def _do(self, sample: Sample) -> int:
        with self._store.read() as conn:
            path = turns.path_to(conn, sample.turn_id)
        if not path or path[-1].text is None:
            return 0
        data: dict[str, Any] = {"sample_id": sample.id, "dialog": dialog(path[:-1]), "reply": path[-1].text}
        answer = self._decide(data)
        if answer is None:
            return 0
        result = from_result(to_result(answer))
        if answer.correction is not None:
            result["correction"], _ = self._scrub([turn.text or "" for turn in path[:-1]], answer.correction)
        number = zlib.crc32(sample.id.encode()) & 0x7FFFFFFF
        annotation = Annotation(number, sample.id, 1, False, result, None, self._store.now())
        with self._store.write() as conn:
            labels.put_annotation(conn, annotation)
            if label := combine(sample, path[-1].text, [annotation]):
                labels.put(conn, label)
            samples.set_tasks(conn, {sample.id: number})
        return 1
