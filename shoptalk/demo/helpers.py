"""What the demo does beside the product: reads a file, scrubs texts, answers tasks, adds data sets."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shoptalk.app.parts import Parts
from shoptalk.domain import (
    Message,
    Role,
)
from shoptalk.errors import ScrubbingFailed

if TYPE_CHECKING:
    from shoptalk.store.training.datasets import Dataset
    from training.recipe import Recipe
    from training.trainer import Trainer


def scrub_texts(parts: Parts, texts: Sequence[str]) -> list[str]:
    """Each text scrubbed by itself; those that cannot be are left out."""
    found = []
    for text in texts:
        with contextlib.suppress(ScrubbingFailed):
            found.append(parts.scrubber.scrub([Message("user", text)]).final[0])
    return found


def read_conversations(path: Path) -> tuple[list[tuple[str, list[tuple[Role, str]]]], list[str]]:
    """A conversation file, raw: (id, (role, text) of each turn), and what is wrong with other lines."""
    from ingest.formats.files import Problem, read_conversations

    found, problems = [], []
    for item in read_conversations(path):
        if isinstance(item, Problem):
            problems.append(str(item))
        else:
            found.append((item.id, [(turn.role, turn.text) for turn in item.turns]))
    return found, problems


def add_dataset(parts: Parts, dataset: Dataset) -> str:
    """Register a dataset that was not made of labels; returns its id."""
    from shoptalk.store.training import datasets

    with parts.store.write() as conn:
        datasets.add(conn, dataset, [])
    return dataset.id


def annotate(parts: Parts, decide: Callable[[Mapping[str, Any]], dict[str, Any] | None], label_studio: bool) -> int:
    """Let a script answer every open task; returns how many. Without Label Studio, labels are made directly."""
    from labeling.annotate import ScriptedAnnotator
    from labeling.config import label_config
    from labeling.direct import DirectAnnotator
    from labeling.results import Answer

    def answer(data: Mapping[str, Any]) -> Answer | None:
        found = decide(data)
        return Answer(**found) if found else None

    if not label_studio:
        return DirectAnnotator(parts.store, parts.scrubber.scrub_correction, answer).work()
    project = parts.label_studio.ensure_project(parts.settings.label_studio_project, label_config())
    return ScriptedAnnotator(parts.label_studio, answer).work(project)


def marked_trainer(parts: Parts, name: str, steps: int, batch: int) -> tuple[Trainer, Recipe]:
    """A trainer for a small adapter of another name, for the demo's swap test."""
    from shoptalk.models.basemodel import find_base_model
    from training.recipe import Recipe
    from training.trainer import Trainer

    s = parts.settings
    base = find_base_model(s.models_path, s.base_model)
    trainer = Trainer(parts.store, parts.artifacts, parts.registry, base, s.dtype, s.home / "work", name)
    return trainer, Recipe(
        steps=steps, batch=batch, rank=8, alpha=16, learning_rate=2e-3, max_tokens=192, threads=s.threads
    )
