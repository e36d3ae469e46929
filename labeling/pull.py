"""Fetches annotations from Label Studio and makes labels of them.

Incremental: it asks for tasks changed since the last pull, by Label Studio's own clock, with a little overlap because
changes may become visible out of order; annotations that it knows already are skipped, and nothing is asked for again
once that time has passed. Everything an annotator typed goes through the scrubber first. Where that removed something,
the annotation in Label Studio is replaced by the scrubbed text before anything is stored, so personal data stays in
neither place. Abandoned drafts are scrubbed too. Does not know how samples are chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from labeling.agreement import combine
from labeling.label_studio.client import LabelStudio
from labeling.label_studio.results import Result, from_result, rewrite_texts
from shoptalk.domain import Sample, Turn
from shoptalk.errors import ScrubbingFailed
from shoptalk.store.database import Store
from shoptalk.store.ingest import turns
from shoptalk.store.labeling import labels, samples
from shoptalk.store.labeling.labels import Annotation

ScrubCorrection = Callable[[Sequence[str], str], tuple[str, Mapping[str, int]]]
"""Takes the conversation so far (scrubbed) and what an annotator typed; returns that scrubbed, and counts by type."""

OVERLAP: Final = timedelta(seconds=30)
BATCH: Final = 20
DRAFT_AGE: Final = timedelta(minutes=1)
"""A draft younger than this is still being typed; it is scrubbed when it is submitted or abandoned."""


@dataclass(frozen=True, slots=True)
class PullResult:
    """Counts of a pull: annotations that were new or changed, labels written, and fixed answers and drafts.

    Fixed are those whose text in Label Studio was replaced because it held personal data.
    """

    annotations: int = 0
    labels: int = 0
    fixed: int = 0

    def __add__(self, other: PullResult) -> PullResult:
        return PullResult(
            self.annotations + other.annotations, self.labels + other.labels, self.fixed + other.fixed
        )  # fmt: skip


class Pull:
    """Makes the labels in the store follow the annotations in Label Studio."""

    def __init__(
        self,
        store: Store,
        client: LabelStudio,
        scrub_correction: ScrubCorrection,
        project_name: str,
        *,
        draft_age: timedelta = DRAFT_AGE,
        overlap: timedelta = OVERLAP,
    ) -> None:
        self.store = store
        self.client = client
        self.scrub_correction = scrub_correction
        self.project_name = project_name
        self.draft_age = draft_age
        self.overlap = overlap
        #: the cursor, and the machine time at which it was first the newest change
        self._reached: tuple[datetime | None, float] = (None, 0.0)
        #: the cursor up to which nothing more can become visible
        self._settled: datetime | None = None

    def run_once(self) -> PullResult:
        """Pull what changed. Before the first push nothing is pulled."""
        with self.store.read() as conn:
            project = samples.project(conn, self.project_name)
        if project is None:
            return PullResult()
        project_id, cursor = project
        reached = self.client.newest_change(project_id)  # before the tasks are read: later changes come next time
        result = PullResult() if self._is_settled(reached, cursor) else self._changes(project_id, reached, cursor)
        return result + PullResult(fixed=self._fix_drafts(project_id))

    def _is_settled(self, reached: datetime | None, cursor: datetime | None) -> bool:
        """Return whether all changes up to the newest were pulled, also those that became visible late."""
        return reached is not None and reached == cursor == self._settled

    def _changes(self, project_id: int, reached: datetime | None, cursor: datetime | None) -> PullResult:
        """Pull tasks changed since the cursor, and a little before; then move it."""
        now = self.store.clock.machine.monotonic()
        if reached != self._reached[0]:
            self._reached = reached, now
        result = PullResult()
        batch: list[dict[str, Any]] = []
        for task in self.client.annotated_since(project_id, cursor - self.overlap if cursor else None):
            batch.append(task)
            if len(batch) == BATCH:
                result += self._take(batch)
                batch = []
        result += self._take(batch)
        if reached is not None and reached != cursor:
            with self.store.write() as conn:
                samples.set_project(conn, self.project_name, project_id, reached)
        elif now - self._reached[1] > self.overlap.total_seconds():
            self._settled = reached
        return result

    def _fix_drafts(self, project_id: int) -> int:
        """Scrub drafts that nobody is typing in any more; return how many were fixed. Their text is not stored here."""
        fixed = 0
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
                    fixed += 1
        return fixed

    def _take(self, tasks: Sequence[Mapping[str, Any]]) -> PullResult:
        """Scrub and fix new annotations, then record them in one transaction."""
        changed: list[tuple[Sample, list[Turn], list[int], list[Annotation]]] = []
        fixed = 0
        with self.store.read() as conn:
            known = samples.find_many(conn, [str(task["data"].get("sample_id")) for task in tasks])
        for task in tasks:
            sample = known.get(str(task["data"].get("sample_id")))
            if sample is None or sample.task_id not in (None, task["id"]):
                continue  # not made by us, or a duplicate
            with self.store.read() as conn:
                times = {a.id: a.updated_at for a in labels.annotations_of(conn, sample.id)}
                path = turns.path_to(conn, sample.turn_id)
            there = task["annotations"] or []
            news = [a for a in there if a["id"] not in times or times[a["id"]] < _time(a["updated_at"])]
            ids = [int(a["id"]) for a in there]
            if not news and set(times) <= set(ids):
                continue
            fresh = [self._annotation(sample, path[:-1], a) for a in news]
            fixed += sum(was_fixed for _, was_fixed in fresh)
            changed.append((sample, path, ids, [a for a, _ in fresh]))
        return self._record(changed) + PullResult(fixed=fixed)

    def _annotation(self, sample: Sample, history: Sequence[Turn], raw: Mapping[str, Any]) -> tuple[Annotation, bool]:
        """Return one annotation with its texts scrubbed, and whether Label Studio's copy was fixed."""
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
        """Return the result with its texts scrubbed, and how many values were removed.

        A text that cannot be scrubbed is emptied, and counts as one value.
        """
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
            there = samples.find_many(conn, [sample.id for sample, *_ in changed])
            for sample, path, ids, annotations in changed:
                if sample.id not in there:  # erased meanwhile
                    continue
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
