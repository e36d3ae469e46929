"""The progress of open rounds: their steps, what each left, and how far the present one is. Reads rows only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from shoptalk.domain import id_of_round
from shoptalk.rounds.steps import STEPS
from shoptalk.settings import Settings
from shoptalk.store import rounds, triggers
from shoptalk.store.labeling import labels
from shoptalk.store.rounds import Round
from shoptalk.store.training import runs
from shoptalk.store.triggers import Trigger

DOING = {
    "start": "Starting",
    "sample": "Choosing replies for annotators",
    "labels": "Waiting for labels",
    "dataset": "Freezing the dataset",
    "train": "Training an adapter",
    "evaluate": "Evaluating the candidate",
    "release": "Releasing the candidate",
}


@dataclass(frozen=True, slots=True)
class RoundStep:
    """A step of a round. `state` is done, now or later; `left` is what a finished step left behind."""

    name: str
    state: str
    left: str


@dataclass(frozen=True, slots=True)
class OpenRound:
    """A round in progress. `done` of `of` units of the present step are done; `of` is 0 where that is not known."""

    round: Round
    reasons: tuple[Trigger, ...]
    doing: str
    steps: tuple[RoundStep, ...]
    done: int
    of: int
    unit: str


def open_rounds(conn: sa.Connection, settings: Settings) -> list[OpenRound]:
    """Return the rounds that are not finished."""
    return [_open(conn, settings, item) for item in rounds.unfinished(conn)]


def _open(conn: sa.Connection, settings: Settings, item: Round) -> OpenRound:
    results = rounds.results(conn, item.id)
    steps = tuple(
        RoundStep(
            name, "done" if name in results else "now" if name == item.step else "later", _left(results.get(name))
        )
        for name in STEPS
    )
    done, of, unit = 0, 0, ""
    if item.step == "labels" and "sample" in results:
        wanted = max(1, min(settings.labels_wanted, int(results["sample"].get("samples", 0))))
        done, of, unit = min(labels.count(conn, item.id), wanted), wanted, "labels"
    elif item.step == "train" and (run := runs.find(conn, id_of_round(item.id, "run"))):
        done, of, unit = run.step, run.steps, "steps"
    reasons = tuple(triggers.of_round(conn, item.id))
    return OpenRound(item, reasons, DOING.get(item.step, item.step), steps, done, of, unit)


def _state(step: str, present: str, results: Mapping[str, Any]) -> str:
    return "done" if step in results else "now" if step == present else "later"


def _left(result: Mapping[str, Any] | None) -> str:
    """Return the one value worth showing of a step's result."""
    if not result:
        return ""
    for key, form in (("samples", "{} sampled"), ("labels", "{} labels")):
        if key in result:
            return form.format(result[key])
    found = next((result[k] for k in ("verdict", "adapter", "dataset", "release", "end") if k in result), "")
    return str(found)
