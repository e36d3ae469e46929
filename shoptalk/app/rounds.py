"""The stages' part of a round's steps, built from Settings."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shoptalk.app.engines import offline_engine
from shoptalk.app.parts import Parts
from shoptalk.domain import AdapterRef, GateDecision, Release, ReleaseState, Verdict
from shoptalk.rounds.requests import BUDGETED
from shoptalk.settings import Settings
from shoptalk.store.chat import releases
from shoptalk.store.labeling import samples
from shoptalk.store.training import evaluations

if TYPE_CHECKING:
    from collections.abc import Callable

    from shoptalk.rounds.steps import Joined
    from shoptalk.store.training.evaluations import Evaluation
    from shoptalk.store.triggers import Trigger
    from training.evaluate import Evaluator, OnProgress, Scorer
    from training.recipe import Recipe
    from training.trainer import OnStep


ROLL_OUT_S = 60.0  # that a round waits for another release to roll out


@dataclass(frozen=True)
class StageWork:
    """The stages' part of each step; implements `shoptalk.rounds.steps.Work`."""

    parts: Parts
    on_step: OnStep | None = None
    on_progress: OnProgress | None = None

    def sample(self, round_id: str, trigger: Trigger, joined: Joined | None = None) -> int:
        from labeling.sampling import sample

        settings, store = self.parts.settings, self.parts.store
        size = settings.sample_size
        if budget := settings.round_budget:
            with store.read() as conn:
                size = min(size, budget - samples.count_since(conn, store.now() - BUDGETED, budget))
        novelty = self.parts.watcher.novelty() if trigger.kind == "drift" else None
        rng = random.Random(f"{round_id} {trigger.id}")
        return len(sample(store, round_id, size, rng, novelty=novelty, joined=joined))

    def freeze(self, round_id: str) -> str:
        return self.parts.datasets.freeze(round_id).id

    def train(self, run_id: str, dataset_id: str, go_on: Callable[[], None]) -> str:
        def on_step(step: int, steps: int, loss: float) -> None:
            go_on()
            if self.on_step:
                self.on_step(step, steps, loss)

        return str(self.parts.trainer.train(run_id, dataset_id, recipe(self.parts.settings), on_step).ref)

    def evaluate(self, evaluation_id: str, adapter: str, dataset_id: str) -> Verdict:
        with offline_engine(self.parts) as engine:
            evaluator = build_evaluator(self.parts, engine)
            dataset = self.parts.datasets.read(dataset_id)
            candidate, live = AdapterRef.parse(adapter), self.parts.compared_with()
            return evaluator.evaluate(evaluation_id, candidate, live, dataset, self.on_progress).verdict

    def release(self, adapter: str, evaluation_id: str, actor: str) -> Release | None:
        moves, alias = self.parts.releases, self.parts.settings.model_alias
        with self.parts.store.read() as conn:
            known = [r for r in releases.newest(conn, alias=alias) if r.evaluation_id == evaluation_id]
            judged, others = evaluations.find(conn, evaluation_id), releases.rolling_out(conn, alias)
        if not known:
            for other in others:  # of a person
                moves.settled(other.id, ROLL_OUT_S)
            if judged is not None and judged.against != str(self.parts.compared_with()):
                return None
        release = known[0] if known else moves.start(alias, adapter, actor, evaluation_id=evaluation_id)
        if release.state is ReleaseState.PENDING:
            release = moves.promote(release.id, actor, "the gate said promote")
        return moves.settled(release.id, 0.0)


def build_evaluator(parts: Parts, engine: Scorer) -> Evaluator:
    from training.evaluate import Evaluator
    from training.gate import GateLimits

    return Evaluator(parts.store, engine, GateLimits(min_examples=parts.settings.gate_min_examples))


def recipe(settings: Settings) -> Recipe:
    from training.recipe import Recipe

    return Recipe(
        steps=settings.train_steps,
        epochs=settings.train_epochs,
        most_tokens=settings.train_tokens,
        most_minutes=settings.train_minutes,
        batch=settings.train_batch,
        rank=settings.train_rank,
        alpha=2 * settings.train_rank,
        learning_rate=settings.learning_rate,
        threads=settings.threads,
    )


def judge_again(record: Evaluation) -> GateDecision:
    """Return the gate's verdict on recorded evidence: the same as then, or something was tampered with."""
    from training.evaluate import replay

    return replay(record)
