"""Brings annotations back from Label Studio and turns them into labels.

Incremental: it asks for tasks changed since the last pull, by Label Studio's own clock, a little overlapped because
changes may become visible out of order; what it knows already is passed over. Whatever an annotator typed goes through
the scrubber first. Where that removed something, the annotation in Label Studio is replaced by the scrubbed text
before anything is stored, so personal data stays in neither place. Drafts that were left lying are cleaned too.
Knows nothing of how samples are chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from labeling.agreement import combine
from labeling.client import LabelStudio
from labeling.results import Result, from_result, rewrite_texts
from shoptalk.domain import Sample, Turn
from shoptalk.errors import ScrubbingFailed
from shoptalk.store.database import Store
from shoptalk.store.ingest import turns
from shoptalk.store.labeling import labels, samples
from shoptalk.store.labeling.labels import Annotation

ScrubCorrection = Callable[[Sequence[str], str], tuple[str, Mapping[str, int]]]
"""Given the conversation so far (scrubbed) and what an annotator typed: that text scrubbed, and counts by type."""

OVERLAP: Final = timedelta(seconds=30)
BATCH: Final = 20
DRAFT_AGE: Final = timedelta(minutes=1)
"""A draft younger than this is being typed; its text will be scrubbed when it is submitted or left."""


@dataclass(frozen=True, slots=True)
class PullResult:
    """What a pull did: annotations that were new or changed, labels written, answers and drafts mended there."""

    annotations: int = 0
    labels: int = 0
    mended: int = 0

    def __add__(self, other: PullResult) -> PullResult:
        return PullResult(
            self.annotations + other.annotations, self.labels + other.labels, self.mended + other.mended
        )  # fmt: skip


class Pull:
    """Brings our labels in line with Label Studio's annotations."""

    def __init__(
        self,
        store: Store,
        client: LabelStudio,
        scrub_correction: ScrubCorrection,
        project_name: str,
        *,
        draft_age: timedelta = DRAFT_AGE,
    ) -> None:
        self.store = store
        self.client = client
        self.scrub_correction = scrub_correction
        self.project_name = project_name
        self.draft_age = draft_age

    def run_once(self) -> PullResult:
        """Pull what changed. Before the first push there is nothing to pull."""
        with self.store.read() as conn:
            project = samples.project(conn, self.project_name)
        if project is None:
            return PullResult()
        project_id, cursor = project
        reached = self.client.newest_change(project_id)  # before the tasks are read: later changes come next time
        result = PullResult()
        batch: list[dict[str, Any]] = []
        for task in self.client.annotated_since(project_id, cursor - OVERLAP if cursor else None):
            batch.append(task)
            if len(batch) == BATCH:
                result += self._take(batch)
                batch = []
        result += self._take(batch)
        if reached is not None and reached != cursor:
            with self.store.write() as conn:
                samples.set_project(conn, self.project_name, project_id, reached)
        return result + PullResult(mended=self._mend_drafts(project_id))

    def _mend_drafts(self, project_id: int) -> int:
        """Scrub drafts nobody is typing in any more; how many needed it. Nothing of them is kept here."""
        mended = 0
        for task in self.client.drafted(project_id):
            for draft in task["drafts"] or []:
                if self.store.now() - _time(draft["updated_at"]) < self.draft_age:
                    continue
                with self.store.read() as conn:
                    sample = samples.find(conn, str(task["data"].get("sample_id")))
                    path = turns.path_to(conn, sample.turn_id) if sample else []
                result, removed = self._scrubbed(path[:-1], draft["result"] or [])
                if removed:
                    self.client.update_draft(int(draft["id"]), result)
                    mended += 1
        return mended

    def _take(self, tasks: Sequence[Mapping[str, Any]]) -> PullResult:
        """Scrub and mend what is news, then record it all in one transaction."""
        changed: list[tuple[Sample, list[Turn], list[int], list[Annotation]]] = []
        mended = 0
        with self.store.read() as conn:
            known = samples.find_many(conn, [str(task["data"].get("sample_id")) for task in tasks])
        for task in tasks:
            sample = known.get(str(task["data"].get("sample_id")))
            if sample is None or sample.task_id not in (None, task["id"]):
                continue  # not ours, or the double of one
            with self.store.read() as conn:
                times = {a.id: a.updated_at for a in labels.annotations_of(conn, sample.id)}
                path = turns.path_to(conn, sample.turn_id)
            there = task["annotations"] or []
            news = [a for a in there if a["id"] not in times or times[a["id"]] < _time(a["updated_at"])]
            ids = [int(a["id"]) for a in there]
            if not news and set(times) <= set(ids):
                continue
            fresh = [self._annotation(sample, path[:-1], a) for a in news]
            mended += sum(was_mended for _, was_mended in fresh)
            changed.append((sample, path, ids, [a for a, _ in fresh]))
        return self._record(changed) + PullResult(mended=mended)

    def _annotation(self, sample: Sample, history: Sequence[Turn], raw: Mapping[str, Any]) -> tuple[Annotation, bool]:
        """One annotation with its texts scrubbed; says whether Label Studio's copy had to be mended."""
        result, removed = self._scrubbed(history, raw["result"] or [])
        changed_at = _time(raw["updated_at"])
        if removed:
            changed_at = max(changed_at, self.client.update_annotation(int(raw["id"]), result))
        by = raw.get("completed_by")
        annotation = Annotation(
            id=int(raw["id"]),
            sample_id=sample.id,
            annotator=by.get("id") if isinstance(by, Mapping) else by,
            skipped=bool(raw.get("was_cancelled")),
            result=from_result(result),
            lead_time_s=raw.get("lead_time"),
            updated_at=changed_at,
        )
        return annotation, bool(removed)

    def _scrubbed(self, history: Sequence[Turn], result: Sequence[Mapping[str, Any]]) -> tuple[Result, int]:
        """The result with its texts scrubbed, and how many values were removed; unscannable text is blanked."""
        earlier = [turn.text for turn in history if turn.text is not None and turn.role != "system"]
        removed = 0

        def scrub(text: str) -> str:
            nonlocal removed
            try:
                clean, counts = self.scrub_correction(earlier, text)
            except ScrubbingFailed:
                removed += bool(text)
                return ""
            removed += sum(counts.values())
            return clean

        return rewrite_texts(result, scrub), removed

    def _record(self, changed: Sequence[tuple[Sample, list[Turn], list[int], list[Annotation]]]) -> PullResult:
        news = written = 0
        if not changed:
            return PullResult()
        with self.store.write() as conn:
            for sample, path, ids, annotations in changed:
                news += sum(labels.put_annotation(conn, a) for a in annotations)
                news += labels.keep_annotations(conn, sample.id, ids)
                label = combine(sample, path[-1].text if path else None, labels.annotations_of(conn, sample.id))
                if label is None:
                    labels.drop(conn, sample.id)
                else:
                    labels.put(conn, label)
                    written += 1
        return PullResult(annotations=news, labels=written)


def _time(value: datetime | str) -> datetime:
    return datetime.fromisoformat(value) if isinstance(value, str) else value
