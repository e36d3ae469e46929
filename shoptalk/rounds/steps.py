"""One round of learning, step by step: sample, wait for labels, dataset, train, evaluate, gate, release.

Knows the order of the steps and the ids that each leaves for the next; what a step does is passed in as `Work`. A
step's result is a row keyed by (round, step), so a step that has finished is not run again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Protocol

import sqlalchemy as sa
import structlog

from shoptalk.domain import Release, ReleaseState, Verdict, id_of_round
from shoptalk.errors import NotEnoughData, NotFound, RoundCancelled
from shoptalk.moves import ROUND
from shoptalk.rounds.requests import asks_people
from shoptalk.store import Store, rounds, triggers
from shoptalk.store.labeling import labels
from shoptalk.store.triggers import Trigger

log = structlog.get_logger(__name__)
Joined = Callable[[sa.Connection, int], None]
AGAIN: Final = "judge again"  # the step in which an evaluation is repeated, with its number
STEPS = ("sample", "labels", "dataset", "train", "evaluate", "release")


class Work(Protocol):
    """The stages' part of each step; `shoptalk.app.rounds` implements it. Each call is idempotent by its ids."""

    def sample(self, round_id: str, trigger: Trigger, joined: Joined | None = None) -> int:
        """Choose replies for annotators, those that the trigger is about first; return how many the round has.

        A trigger that joined adds some, and calls `joined` with their number in the transaction that adds them.
        """
        ...

    def freeze(self, round_id: str) -> str:
        """Freeze the labels into a dataset; return its id."""
        ...

    def train(self, run_id: str, dataset_id: str, go_on: Callable[[], None]) -> str:
        """Train and publish an adapter; return its name and version. Calls `go_on`, which may raise, now and then."""
        ...

    def evaluate(self, evaluation_id: str, adapter: str, dataset_id: str) -> Verdict:
        """Evaluate the adapter against the live one; return the gate's verdict."""
        ...

    def release(self, adapter: str, evaluation_id: str, actor: str) -> Release | None:
        """Release the adapter; return the release, which may still roll out: then call again.

        None where the evaluation did not compare with what is served now.
        """
        ...


@dataclass(frozen=True, slots=True)
class RoundPlan:
    """The settings of a round: how many labels it waits for, how long, and whether a promoted candidate goes live."""

    labels_wanted: int
    labels_wait_s: float
    auto_promote: bool


class RoundSteps:
    """The steps of a round on real rows; implements `shoptalk.rounds.workflow.Steps`."""

    names = STEPS

    def __init__(self, store: Store, work: Work, plan: RoundPlan) -> None:
        self._store, self._work, self._plan = store, work, plan

    def run(self, name: str, round_id: str) -> Mapping[str, Any]:
        """Run a step unless it has finished; return its result. See `shoptalk.rounds.workflow.Steps`."""
        with self._store.read() as conn:
            found, done = rounds.find(conn, round_id), rounds.results(conn, round_id)
        if found is None:
            raise NotFound(f"there is no round {round_id}")
        if found.state in ROUND.final:  # cancelled, or a step of a process that was believed dead
            return {"end": found.state}
        if name in done:
            return done[name]
        self._move(round_id, "step", name)
        try:
            result: dict[str, Any] = getattr(self, f"_{name}")(round_id, done)
        except NotEnoughData as error:
            result = {"end": "not_enough_data", "why": error.message}
        if result.get("wait"):
            self._move(round_id, "wait", name)
            return result
        with self._store.write() as conn:
            result = rounds.set_result(conn, round_id, name, result)
        log.info("round step done", round=round_id, step=name, **result)
        return result

    def stumble(self, name: str, round_id: str, problem: str) -> None:
        """Record why a step failed that is tried again; its next move takes that back."""
        self._move(round_id, "step", name, problem)

    def finish(self, round_id: str, outcome: str, problem: str | None) -> None:
        """Record a round's end; a round that is finished keeps the end it has."""
        self._move(round_id, "fail" if outcome == "failed" else "finish", outcome, problem)

    def _sample(self, round_id: str, _: Mapping[str, Any]) -> dict[str, Any]:
        """Choose replies for the trigger that says most about which: drift, else any that asks people."""
        with self._store.read() as conn:
            asking = [trigger for trigger in triggers.of_round(conn, round_id) if asks_people(trigger)]
        if not asking:
            return {"samples": 0, "for": None}
        trigger = min(asking, key=lambda each: each.kind != "drift")
        return {"samples": self._work.sample(round_id, trigger), "for": trigger.kind}

    def _joined(self, round_id: str) -> int:
        """Sample for drift that joined since; return how many samples the round has."""
        with self._store.read() as conn:
            drifted = [trigger for trigger in triggers.of_round(conn, round_id) if trigger.kind == "drift"]
            done = rounds.results(conn, round_id)
        for trigger in drifted[done["sample"].get("for", "drift") == "drift" :]:
            step = f"join {trigger.id[-20:]}"
            if step not in done:

                def record(conn: sa.Connection, added: int, step: str = step) -> None:
                    rounds.set_result(conn, round_id, step, {"samples": added})

                self._work.sample(round_id, trigger, record)
        with self._store.read() as conn:
            done = rounds.results(conn, round_id)
        return sum(int(result.get("samples", 0)) for result in done.values())

    def _labels(self, round_id: str, _: Mapping[str, Any]) -> dict[str, Any]:
        """Wait for enough labels of this round's samples, at most as long as planned, or until a person says so."""
        sampled = self._joined(round_id)
        with self._store.read() as conn:
            here, total = labels.count(conn, round_id), labels.count(conn)
            answered, found = labels.count_answered(conn, round_id), rounds.find(conn, round_id)
        if found is None:
            raise NotFound(f"there is no round {round_id}")
        if not sampled and not total:
            return {"end": "nothing_to_label"}
        late = found.learn_now or self._store.now() - found.created_at > timedelta(seconds=self._plan.labels_wait_s)
        if here >= min(self._plan.labels_wanted, sampled) or answered >= sampled or (late and total):
            if not total:
                return {"end": "no_labels"}
            return {"labels": here, "all_labels": total}
        if late:
            return {"end": "no_labels"}
        return {"wait": True}

    def _dataset(self, round_id: str, _: Mapping[str, Any]) -> dict[str, Any]:
        return {"dataset": self._work.freeze(round_id)}

    def _train(self, round_id: str, done: Mapping[str, Any]) -> dict[str, Any]:
        run_id = id_of_round(round_id, "run")

        def go_on() -> None:
            with self._store.read() as conn:
                found = rounds.find(conn, round_id)
            if found is None or found.state in ROUND.final:
                raise RoundCancelled

        return {"run": run_id, "adapter": self._work.train(run_id, done["dataset"]["dataset"], go_on)}

    def _evaluate(self, round_id: str, done: Mapping[str, Any]) -> dict[str, Any]:
        evaluation_id = id_of_round(round_id, "evl")
        verdict = self._work.evaluate(evaluation_id, done["train"]["adapter"], done["dataset"]["dataset"])
        result = {"evaluation": evaluation_id, "verdict": verdict.value}
        return result if verdict is Verdict.PROMOTE else {**result, "end": verdict.value}

    def _release(self, round_id: str, done: Mapping[str, Any]) -> dict[str, Any]:
        if not self._plan.auto_promote:
            return {"end": "awaiting_release"}
        adapter = done["train"]["adapter"]
        tries = sum(step.startswith(AGAIN) for step in done)
        evaluation = done[f"{AGAIN} {tries}" if tries else "evaluate"]["evaluation"]
        release = self._work.release(adapter, evaluation, f"round:{round_id}")
        if release is None:  # another adapter went live since
            again = self._judge_again(round_id, done, tries + 1)
            return {"wait": True} if "end" not in again else again
        if release.state is ReleaseState.ROLLING_OUT:
            return {"wait": True}
        return {"release": release.id, **({"end": "release_failed"} if release.state is ReleaseState.FAILED else {})}

    def _judge_again(self, round_id: str, done: Mapping[str, Any], time: int) -> dict[str, Any]:
        """Evaluate the adapter against what is served now; return the evaluation, and the round's end if it fails."""
        evaluation_id = f"{id_of_round(round_id, 'evl')}_{time + 1}"
        verdict = self._work.evaluate(evaluation_id, done["train"]["adapter"], done["dataset"]["dataset"])
        result: dict[str, Any] = {"evaluation": evaluation_id, "verdict": verdict.value}
        if verdict is not Verdict.PROMOTE:
            return {**result, "end": verdict.value}
        with self._store.write() as conn:
            return rounds.set_result(conn, round_id, f"{AGAIN} {time}", result)

    def _move(self, round_id: str, move: str, step: str, problem: str | None = None) -> None:
        with self._store.write() as conn:
            moved = rounds.move(conn, round_id, move, step, problem)
        if not moved:  # a step of a killed process, or a repeated one, may report after the round's end
            log.info("round is finished and does not move", round=round_id, move=move, step=step)
