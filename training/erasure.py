"""Removes erased conversations from datasets, and marks the adapters that were trained on them.

One that a conversation was only held out from learned nothing of it, and is not marked.
A dataset is rewritten without them under a new id, as its id is its content's hash. The row of the old one stays, for
what refers to it, and names the new one. Gate decisions are repeated from recorded scores, which hold no text. Knows
nothing of what is served.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from shoptalk.folders import remove_folder
from shoptalk.models.artifacts import Artifacts
from shoptalk.models.registry import Registry
from shoptalk.ports import Erased
from shoptalk.store import Store, adapters
from shoptalk.store.training import datasets, runs
from shoptalk.store.training.datasets import Dataset
from training.dataset import rewrite_without
from training.trainer import run_folder


class TrainingEraser:
    """Datasets, the fixed split, training runs' files, and marks on adapters."""

    name: Final = "training"
    covers: Final = frozenset({
        "datasets", "dataset_examples", "holdout_groups", "runs", "adapters", "evaluations", "artifacts/", "work/",
    })  # fmt: skip

    def __init__(self, store: Store, artifacts: Artifacts, registry: Registry, work: Path) -> None:
        self._store, self._artifacts, self._registry, self._work = store, artifacts, registry, work

    def erase(self, what: Erased) -> dict[str, Any]:
        """Erase, and return what was replaced. Safe to repeat after a crash."""
        with self._store.read() as conn:
            holding = datasets.holding(conn, what.conversations)
            trained_on = datasets.with_former(conn, datasets.training_on(conn, what.conversations))
            trained = adapters.of_datasets(conn, trained_on)
        for adapter in trained:  # before it is forgotten which examples were whose
            self._registry.mark(adapter.ref, what.erasure, what.policy)
        for old in holding:
            self._rewrite(old, what)
        with self._store.read() as conn:
            replaced = datasets.of_erasure(conn, what.erasure)
            tried = runs.of_datasets(conn, datasets.with_former(conn, [dataset.id for dataset in replaced]))
            marked = {adapter.ref for adapter in trained} | {mark.ref for mark in adapters.marks_of(conn, what.erasure)}
        for dataset in replaced:  # all of them again, in case an earlier try was killed in between
            self._forget(dataset)
        for run in tried:
            self._clear(run_folder(self._work, run.id), running=run.state == "running")
        with self._store.write() as conn:
            runs.erase_problems(conn, [run.id for run in tried])
            datasets.forget_splits(conn, [*what.conversations, *([what.customer] if what.customer else [])])
        return {
            "datasets": {dataset.id: dataset.replaced_by for dataset in replaced},
            "files": [dataset.manifest_sha256 for dataset in replaced],
            "adapters": sorted(map(str, marked)),
        }

    def _rewrite(self, old: Dataset, what: Erased) -> None:
        gone = set(what.conversations)
        made = rewrite_without(old, self._artifacts, gone, self._store.now())
        if made.id == old.id:
            return
        with self._store.write() as conn:
            kept = [member for member in datasets.members(conn, old.id) if member[2] not in gone]
            datasets.add(conn, made, kept)
            datasets.replace(conn, old.id, made.id, what.erasure)

    def _forget(self, dataset: Dataset) -> None:
        with self._store.read() as conn:
            if datasets.in_use(conn, dataset.manifest_sha256):
                return
        self._artifacts.delete(dataset.manifest_sha256)

    def _clear(self, folder: Path, *, running: bool) -> None:
        """Remove a run's folder. A trainer that runs has read its examples and needs the rest of it."""
        if running and not folder.is_symlink():
            (folder / "dataset.json").unlink(missing_ok=True)
        else:
            remove_folder(folder)
