"""Labels without Label Studio, for a demo on a machine that lacks it: same tasks, same answers, same labels.

A scripted answer becomes an annotation row and a label as if it had been pulled. Not for people.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from labeling.agreement import combine
from labeling.annotate import Decide
from labeling.push import dialog
from labeling.results import from_result, to_result
from shoptalk.domain import Sample
from shoptalk.store import Store
from shoptalk.store.ingest import turns
from shoptalk.store.labeling import labels, samples
from shoptalk.store.labeling.labels import Annotation

ScrubCorrection = Callable[[Sequence[str], str], tuple[str, Mapping[str, int]]]


class DirectAnnotator:
    """Answers samples as `answer` says; corrections pass the scrubber as they do when pulled."""

    def __init__(self, store: Store, scrub_correction: ScrubCorrection, answer: Decide) -> None:
        self._store, self._scrub, self._answer = store, scrub_correction, answer

    def work(self) -> int:
        """Answer every sample that has no task yet; returns how many."""
        with self._store.read() as conn:
            pending = samples.unpushed(conn, 10_000)
        return sum(self._do(sample) for sample in pending)

    def _do(self, sample: Sample) -> int:
        with self._store.read() as conn:
            path = turns.path_to(conn, sample.turn_id)
        if not path or path[-1].text is None:
            return 0
        data: dict[str, Any] = {"sample_id": sample.id, "dialog": dialog(path[:-1]), "reply": path[-1].text}
        answer = self._answer(data)
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
            samples.set_task(conn, sample.id, number)
        return 1
