"""The demo's own helpers: read a file, scrub texts, answer tasks, add datasets."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shoptalk.app.parts import Parts
from shoptalk.domain import Example, Message, Role
from shoptalk.errors import ScrubbingFailed

if TYPE_CHECKING:
    from shoptalk.store.training.datasets import Dataset
    from training.recipe import Recipe
    from training.trainer import Trainer


def scrub_texts(parts: Parts, texts: Sequence[str]) -> list[str]:
    """Scrub each text by itself; leave out those for which that fails."""
    found = []
    for text in texts:
        with contextlib.suppress(ScrubbingFailed):
            found.append(parts.scrubber.scrub([Message("user", text)]).final[0])
    return found


def read_conversations(path: Path) -> tuple[list[tuple[str, list[tuple[Role, str]]]], list[str]]:
    """Read a conversation file, raw: return (id, (role, text) of each turn), and the problems of other lines."""
    from ingest.formats.files import LineProblem, read_conversations

    found, problems = [], []
    for item in read_conversations(path):
        if isinstance(item, LineProblem):
            problems.append(str(item))
        else:
            found.append((item.id, [(turn.role, turn.text) for turn in item.turns]))
    return found, problems


def add_dataset(parts: Parts, dataset: Dataset) -> str:
    """Register a dataset that was not made of labels; return its id."""
    from shoptalk.store.training import datasets

    with parts.store.write() as conn:
        datasets.add(conn, dataset, [])
    return dataset.id


def annotate(parts: Parts, decide: Callable[[Mapping[str, Any]], dict[str, Any] | None], label_studio: bool) -> int:
    """Let a script answer every open task; return how many. Without Label Studio labels are made directly."""
    from labeling.annotate import ScriptedAnnotator
    from labeling.direct import DirectAnnotator
    from labeling.label_studio.config import label_config
    from labeling.label_studio.results import AnnotatorAnswer

    def answer(data: Mapping[str, Any]) -> AnnotatorAnswer | None:
        found = decide(data)
        return AnnotatorAnswer(**found) if found else None

    if not label_studio:
        return DirectAnnotator(parts.store, parts.scrubber.scrub_correction, answer).work()
    project = parts.label_studio.ensure_project(parts.settings.label_studio_project, label_config())
    return ScriptedAnnotator(parts.label_studio, answer).work(project)


def examples_of(prompt: str, prefix: str, pairs: Iterable[tuple[str, str]]) -> list[Example]:
    """Return examples of one question and its answer each, every one a conversation and a customer of its own."""
    system = Message("system", prompt)
    return [
        Example(
            label_id=f"{prefix}_{i}",
            conversation_id=f"{prefix}_{i}",
            group=f"{prefix}_{i}",
            messages=(system, Message("user", asked)),
            reply=answered,
        )
        for i, (asked, answered) in enumerate(pairs)
    ]


def marked_trainer(parts: Parts, name: str, steps: int, batch: int) -> tuple[Trainer, Recipe]:
    """Return a trainer and recipe for a small adapter of another name, for the demo's swap test."""
    from shoptalk.models.basemodel import find_base_model
    from training.recipe import Recipe
    from training.trainer import Trainer

    s = parts.settings
    base = find_base_model(s.models_path, s.base_model)
    trainer = Trainer(parts.store, parts.artifacts, parts.registry, base, s.dtype, s.home / "work", name)
    return trainer, Recipe(
        steps=steps, batch=batch, rank=8, alpha=16, learning_rate=2e-3, max_tokens=192, threads=s.threads
    )
