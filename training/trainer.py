"""Runs fine-tuning as a child process and publishes the adapter. Loads no model itself.

A run is identified by its id: one that was interrupted starts again in the same folder, one that is done does not
publish a second time.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from shoptalk.domain import Adapter
from shoptalk.errors import InvalidInput, NotFound, RoundCancelled, TrainingFailed
from shoptalk.folders import remove_folder
from shoptalk.models.adapterfile import AdapterFiles
from shoptalk.models.artifacts import Artifacts
from shoptalk.models.basemodel import BaseModel
from shoptalk.models.registry import Registry
from shoptalk.store import Store, adapters
from shoptalk.store.training import datasets, runs
from training.recipe import Recipe

RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,79}", re.ASCII)
OnStep = Callable[[int, int, float], None]
"""Called with the optimizer steps done, the number of all, and the step's loss."""


class Trainer:
    """Trains adapters of one name."""

    def __init__(
        self,
        store: Store,
        artifacts: Artifacts,
        registry: Registry,
        base: BaseModel,
        dtype: str,
        work: Path,
        name: str,
    ) -> None:
        self._store, self._artifacts, self._registry = store, artifacts, registry
        self._base, self._dtype, self._work, self._name = base, dtype, work, name

    def train(self, run_id: str, dataset_id: str, recipe: Recipe, on_step: OnStep | None = None) -> Adapter:
        """Train on a dataset and publish the adapter.

        Raises NotFound without such a dataset, TrainingFailed with the end of the child's output, and what `on_step`
        raises: then the child is ended, and of a cancelled round nothing is kept.
        """
        with self._store.read() as conn:
            done, dataset = adapters.of_run(conn, run_id), datasets.current(conn, dataset_id)
        if done:  # published by an earlier try, which perhaps was killed before it recorded that
            self._close(run_id, done)
            return done
        if dataset is None:
            raise NotFound(f"there is no dataset {dataset_id[:80]}")
        with self._store.write() as conn:
            runs.start(conn, run_id, dataset.id, recipe.as_dict(), recipe.steps or 0)
        folder = self._prepare(run_id, dataset, recipe)
        try:
            problem = self._follow(run_id, folder, recipe, on_step)
        except RoundCancelled as error:
            self._end(run_id, error.message)
            remove_folder(folder)
            raise
        if problem:
            self._end(run_id, problem)
            raise TrainingFailed(f"training {run_id} failed: {problem}")
        adapter = self._publish(run_id, dataset.id, folder / "adapter")
        self._close(run_id, adapter)
        return adapter

    def _prepare(self, run_id: str, dataset: datasets.Dataset, recipe: Recipe) -> Path:
        folder = run_folder(self._work, run_id)
        remove_folder(folder)  # of an attempt that was interrupted
        folder.mkdir(parents=True)
        (folder / "dataset.json").write_bytes(self._artifacts.get(dataset.manifest_sha256))
        base = {**dataclasses.asdict(self._base), "folder": str(self._base.folder.resolve())}
        job = {
            "base": base,
            "dtype": self._dtype,
            "recipe": recipe.as_dict(),
            "dataset_id": dataset.id,
            "dataset_file": str(folder / "dataset.json"),
            "parent": os.getpid(),
        }
        (folder / "job.json").write_text(json.dumps(job))
        return folder

    def _follow(self, run_id: str, folder: Path, recipe: Recipe, on_step: OnStep | None) -> str | None:
        """Run the child to its end and record its progress; return what went wrong, or None."""
        command = [sys.executable, "-m", "training.finetune", str(folder)]
        quiet = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "DO_NOT_TRACK": "1"}
        losses: list[float] = []
        total = recipe.steps or 0
        with (folder / "stderr.log").open("w+") as errors:
            # in its own session: for its priority, and because Ctrl-C is for its parent, which it does not outlive
            child = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=errors, text=True, env=quiet, start_new_session=True
            )
            assert child.stdout is not None
            try:
                for line in child.stdout:
                    facts = _facts(line)
                    if "steps" in facts:
                        total = facts["steps"]
                        with self._store.write() as conn:
                            runs.plan(conn, run_id, total)
                    if "step" in facts:
                        losses.append(facts["loss"])
                        self._progress(run_id, facts["step"], losses)
                        if on_step:
                            on_step(facts["step"], total, facts["loss"])
            finally:
                child.stdout.close()
                if child.poll() is None and sys.exc_info()[0] is not None:
                    child.kill()
                code = child.wait()
            if code == 0 and (folder / "done.json").exists():
                return None
            errors.seek(0)
            tail = errors.read().strip().splitlines()[-3:]
        return f"exit status {code}: {' | '.join(tail)[-600:]}"

    def _end(self, run_id: str, problem: str) -> None:
        with self._store.write() as conn:
            runs.finish(conn, run_id, problem=problem)

    def _progress(self, run_id: str, step: int, losses: list[float]) -> None:
        recent = losses[-8:]
        with self._store.write() as conn:
            runs.progress(conn, run_id, step, {"loss": sum(recent) / len(recent), "first_loss": losses[0]})

    def _publish(self, run_id: str, dataset_id: str, folder: Path) -> Adapter:
        config, weights = folder / "adapter_config.json", folder / "adapter_model.safetensors"
        files = AdapterFiles(config.read_bytes(), weights.read_bytes())
        return self._registry.publish(
            self._name, files, base_sha256=self._base.sha256, dataset_id=dataset_id, run_id=run_id
        )

    def _close(self, run_id: str, adapter: Adapter) -> None:
        """Record that the run is done, unless that is recorded, and remove its folder."""
        with self._store.write() as conn:
            run = runs.find(conn, run_id)
            if run is not None and run.state != "done":
                runs.finish(conn, run_id, adapter=str(adapter.ref))
        remove_folder(run_folder(self._work, run_id))


def run_folder(work: Path, run_id: str) -> Path:
    """Return a run's own folder. Raises InvalidInput for an id that could lead to another one."""
    if not RUN_ID.fullmatch(run_id):
        raise InvalidInput(f"'{run_id[:80]}' is not the id of a training run", field="run_id")
    return work / run_id


def _facts(line: str) -> dict[str, Any]:
    """Return what a line of progress holds; nothing for what libraries print."""
    try:
        facts = json.loads(line)
    except ValueError:
        return {}
    return facts if isinstance(facts, dict) else {}
