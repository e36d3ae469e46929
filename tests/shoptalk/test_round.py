"""What each step of a round leaves for the next, on real rows and with made-up work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from shoptalk.domain import Label, Release, ReleaseState, Sample, Verdict
from shoptalk.errors import IllegalMove, InvalidInput, NotEnoughData, NotFound, RoundCancelled
from shoptalk.rounds.control import RoundControl
from shoptalk.rounds.steps import STEPS, Joined, RoundPlan, RoundSteps
from shoptalk.store import Store, rounds, triggers
from shoptalk.store.labeling import labels, samples
from shoptalk.store.triggers import Trigger
from tests.clocks import now

ROUND = "rnd_1"
PLAN = RoundPlan(labels_wanted=2, labels_wait_s=3600.0, auto_promote=True)


@dataclass
class Work:
    """Remembers what it was asked."""

    store: Store
    verdict: Verdict = Verdict.PROMOTE
    sampled: int = 3
    enough: bool = True
    releases: list[ReleaseState | None] = field(default_factory=lambda: [ReleaseState.LIVE])
    asked: list[tuple[str, ...]] = field(default_factory=list)

    def sample(self, round_id: str, trigger: Trigger, joined: Joined | None = None) -> int:
        self.asked.append(("sample", round_id))
        if joined is not None:
            with self.store.write() as conn:
                joined(conn, 2)
        return self.sampled

    def freeze(self, round_id: str) -> str:
        self.asked.append(("freeze", round_id))
        if not self.enough:
            raise NotEnoughData("2 labels are not enough")
        return "ds_1"

    def train(self, run_id: str, dataset_id: str, go_on: Callable[[], None]) -> str:
        go_on()
        self.asked.append(("train", run_id, dataset_id))
        return "shop@v1"

    def evaluate(self, evaluation_id: str, adapter: str, dataset_id: str) -> Verdict:
        self.asked.append(("evaluate", evaluation_id, adapter, dataset_id))
        return self.verdict

    def release(self, adapter: str, evaluation_id: str, actor: str) -> Release | None:
        self.asked.append(("release", adapter, evaluation_id, actor))
        release_state = self.releases.pop(0) if len(self.releases) > 1 else self.releases[0]
        if release_state is None:
            return None
        return Release(
            id="rel_1", alias="shop", adapter=adapter, previous="shop@v0", state=release_state,
            evaluation_id=evaluation_id, actor=actor, created_at=now(), updated_at=now(),
        )  # fmt: skip


@pytest.fixture(autouse=True)
def opened(store: Store) -> None:
    with store.write() as conn:
        triggers.add(conn, triggers.Trigger("trg_1", "person", "asked", None, now()))
        rounds.open_for(conn, "trg_1", ROUND)


def label(store: Store, count: int, round_id: str = ROUND) -> None:
    with store.write() as conn:
        for n in range(count):
            name = f"{round_id}_{n}"
            samples.add(
                conn,
                Sample(
                    id=f"smp_{name}",
                    turn_id=f"t_{name}",
                    conversation_id="con_1",
                    round_id=round_id,
                    inclusion_probability=0.5,
                    strategy="random",
                ),
            )
            labels.put(
                conn,
                Label(
                    id=f"lbl_{name}",
                    sample_id=f"smp_{name}",
                    turn_id=f"t_{name}",
                    conversation_id="con_1",
                    verdict="good",
                    reply="Yes.",
                    rating=None,
                    intent=None,
                    flags=(),
                    annotators=1,
                    agreement=None,
                    updated_at=now(),
                ),
            )


def through(steps: RoundSteps) -> dict[str, object]:
    """As `shoptalk.rounds.workflow` goes through them; stops where a step waits."""
    for name in STEPS:
        result = steps.run(name, ROUND)
        if result.get("wait") or "end" in result:
            return dict(result)
    return dict(result)


def state(store: Store) -> tuple[str, str]:
    with store.read() as conn:
        found = rounds.find(conn, ROUND)
    assert found is not None
    return found.state, found.step


def test_a_round_hands_ids_from_step_to_step(store: Store) -> None:
    label(store, 2)
    work = Work(store)
    assert through(RoundSteps(store, work, PLAN)) == {"release": "rel_1"}
    assert work.asked == [
        ("sample", ROUND), ("freeze", ROUND), ("train", "run_1", "ds_1"), ("evaluate", "evl_1", "shop@v1", "ds_1"),
        ("release", "shop@v1", "evl_1", "round:rnd_1"),
    ]  # fmt: skip


def test_a_step_that_is_done_is_not_done_again(store: Store) -> None:
    label(store, 2)
    work = Work(store)
    first = through(RoundSteps(store, work, PLAN))
    asked = list(work.asked)
    assert through(RoundSteps(store, work, PLAN)) == first
    assert work.asked == asked


def test_a_round_waits_for_its_own_labels(store: Store) -> None:
    label(store, 5, "rnd_0")
    steps = RoundSteps(store, Work(store), PLAN)
    assert through(steps) == {"wait": True}
    assert state(store) == ("waiting", "labels")
    label(store, 2)
    assert through(steps) == {"release": "rel_1"}


def test_no_more_labels_are_waited_for_than_were_sampled(store: Store) -> None:
    label(store, 1)
    assert through(RoundSteps(store, Work(store, sampled=1), PLAN)) == {"release": "rel_1"}


def test_after_the_wait_a_round_goes_on_with_what_there_is(store: Store) -> None:
    steps = RoundSteps(store, Work(store), replace(PLAN, labels_wait_s=0.0))
    label(store, 1, "rnd_0")
    assert through(steps) == {"release": "rel_1"}


def test_without_any_label_a_round_ends(store: Store) -> None:
    assert through(RoundSteps(store, Work(store), replace(PLAN, labels_wait_s=0.0))) == {"end": "no_labels"}


def test_too_few_labels_end_a_round(store: Store) -> None:
    label(store, 2)
    result = through(RoundSteps(store, Work(store, enough=False), PLAN))
    assert result == {"end": "not_enough_data", "why": "2 labels are not enough"}


@pytest.mark.parametrize("verdict", [Verdict.REJECT, Verdict.INCONCLUSIVE])
def test_only_what_the_gate_promotes_is_released(store: Store, verdict: Verdict) -> None:
    label(store, 2)
    work = Work(store, verdict)
    assert through(RoundSteps(store, work, PLAN))["end"] == verdict.value
    assert "release" not in [a[0] for a in work.asked]


def test_a_person_may_have_the_last_word(store: Store) -> None:
    label(store, 2)
    work = Work(store)
    assert through(RoundSteps(store, work, replace(PLAN, auto_promote=False))) == {"end": "awaiting_release"}
    assert "release" not in [a[0] for a in work.asked]


def test_the_end_is_on_record(store: Store) -> None:
    steps = RoundSteps(store, Work(store), PLAN)
    steps.finish(ROUND, "failed", "no memory")
    assert state(store) == ("failed", "failed")


def test_a_finished_round_keeps_its_end(store: Store) -> None:
    """A step of a killed process, or one that DBOS repeats, may report after the end."""
    label(store, 2)
    steps = RoundSteps(store, Work(store), PLAN)
    steps.finish(ROUND, "reject", None)
    assert state(store) == ("done", "reject")
    steps.finish(ROUND, "reject", None)
    steps.finish(ROUND, "failed", "no memory")
    assert steps.run("sample", ROUND) == {"end": "done"}
    assert state(store) == ("done", "reject")
    with store.read() as conn:
        assert rounds.unfinished(conn) == []


def test_an_unknown_round_is_not_found(store: Store) -> None:
    steps = RoundSteps(store, Work(store), PLAN)
    with pytest.raises(NotFound):
        steps.run("sample", "rnd_9")


def join(store: Store, kind: str) -> None:
    with store.write() as conn:
        triggers.add(conn, Trigger(f"trg_{kind}", kind, "meanwhile", None, now()))  # type: ignore[arg-type]
        assert rounds.join(conn, f"trg_{kind}", ROUND)


def test_what_drifts_while_a_round_waits_is_sampled_too_and_once(store: Store) -> None:
    work = Work(store, sampled=3)
    steps = RoundSteps(store, work, PLAN)
    assert through(steps) == {"wait": True}
    join(store, "schedule")
    join(store, "drift")
    for _ in range(3):
        assert through(steps) == {"wait": True}
    assert work.asked == [("sample", ROUND)] * 2
    label(store, 2)
    assert through(steps) == {"release": "rel_1"}


def test_new_labels_alone_ask_no_annotators(store: Store) -> None:
    label(store, 1, "rnd_0")
    with store.write() as conn:
        rounds.move(conn, ROUND, "finish", "promote")
        triggers.add(conn, Trigger("trg_2", "labels", "100 new labels", None, now()))
        rounds.open_for(conn, "trg_2", "rnd_2")
    work = Work(store)
    steps = RoundSteps(store, work, PLAN)
    for name in STEPS[:3]:
        assert "end" not in steps.run(name, "rnd_2")
    assert work.asked == [("freeze", "rnd_2")]


def test_a_round_that_should_learn_now_waits_no_more(store: Store) -> None:
    control, steps = RoundControl(store), RoundSteps(store, Work(store), PLAN)
    label(store, 1, "rnd_0")
    assert through(steps) == {"wait": True}
    assert control.move("learn-now", ROUND, "cli").learn_now
    assert through(steps) == {"release": "rel_1"}
    steps.finish(ROUND, "done", None)
    with pytest.raises(IllegalMove, match="waits for no labels"):
        control.move("learn-now", ROUND, "cli")


def test_a_cancelled_round_ends_where_it_is(store: Store) -> None:
    control, work = RoundControl(store), Work(store)
    steps = RoundSteps(store, work, PLAN)
    assert through(steps) == {"wait": True}
    assert control.move("cancel", ROUND, "key_1").problem == "cancelled by key_1"
    assert through(steps) == {"end": "cancelled"}
    steps.finish(ROUND, "cancelled", None)
    assert state(store) == ("cancelled", "labels")
    with pytest.raises(IllegalMove):
        control.move("cancel", ROUND, "cli")
    with pytest.raises(NotFound):
        control.move("cancel", "rnd_9", "cli")
    with pytest.raises(InvalidInput, match="use cancel or learn-now"):
        control.move("x", ROUND, "cli")


def test_a_round_cancelled_while_it_trains_stops_training(store: Store) -> None:
    label(store, 2)

    class Cancelled(Work):
        def train(self, run_id: str, dataset_id: str, go_on: Callable[[], None]) -> str:
            go_on()
            RoundControl(self.store).move("cancel", ROUND, "cli")
            return super().train(run_id, dataset_id, go_on)

    with pytest.raises(RoundCancelled):
        through(RoundSteps(store, Cancelled(store), PLAN))
    assert state(store) == ("cancelled", "train")


def test_of_requests_that_wait_together_drift_says_what_to_sample(store: Store) -> None:
    with store.write() as conn:
        rounds.move(conn, ROUND, "finish", "promote")
        for n, kind in enumerate(("labels", "person", "drift")):
            triggers.add(conn, Trigger(f"trg_b{n}", kind, "asked", None, now()))  # type: ignore[arg-type]
        rounds.open_for(conn, "trg_b0", "rnd_2")
        for n in (1, 2):
            rounds.join(conn, f"trg_b{n}", "rnd_2")
    work = Work(store)
    steps = RoundSteps(store, work, PLAN)
    assert steps.run("sample", "rnd_2") == {"samples": 3, "for": "drift"}
    assert steps.run("labels", "rnd_2") == {"wait": True}
    assert work.asked == [("sample", "rnd_2")]  # once, though drift is not the first of them


def test_a_round_says_why_it_waits(store: Store) -> None:
    steps = RoundSteps(store, Work(store), PLAN)
    steps.stumble("sample", ROUND, "the disk is full")
    with store.read() as conn:
        assert rounds.newest(conn)[0].problem == "the disk is full"
    steps.run("sample", ROUND)
    with store.read() as conn:
        assert rounds.newest(conn)[0].problem is None


def test_a_round_waits_until_its_release_is_served(store: Store) -> None:
    label(store, 2)
    work = Work(store, releases=[ReleaseState.ROLLING_OUT, ReleaseState.LIVE])
    steps = RoundSteps(store, work, PLAN)
    assert through(steps) == {"wait": True}
    assert state(store) == ("waiting", "release")
    assert steps.run("release", ROUND) == {"release": "rel_1"}


def test_a_release_that_is_refused_ends_the_round(store: Store) -> None:
    label(store, 2)
    work = Work(store, releases=[ReleaseState.FAILED])
    assert through(RoundSteps(store, work, PLAN)) == {"release": "rel_1", "end": "release_failed"}


def test_a_verdict_against_what_is_no_longer_served_is_given_again(store: Store) -> None:
    label(store, 2)
    work = Work(store, releases=[None, None, ReleaseState.LIVE])
    steps = RoundSteps(store, work, PLAN)
    assert through(steps) == {"wait": True}
    assert steps.run("release", ROUND) == {"wait": True}
    assert steps.run("release", ROUND) == {"release": "rel_1"}
    judged = [asked[1] for asked in work.asked if asked[0] == "evaluate"]
    assert judged == ["evl_1", "evl_1_2", "evl_1_3"]
    assert work.asked[-1] == ("release", "shop@v1", "evl_1_3", f"round:{ROUND}")


def test_a_round_ends_where_the_second_verdict_is_another(store: Store) -> None:
    label(store, 2)
    work = Work(store, releases=[None])
    steps = RoundSteps(store, work, PLAN)
    for name in STEPS[:-1]:
        steps.run(name, ROUND)
    work.verdict = Verdict.REJECT
    assert steps.run("release", ROUND) == {"evaluation": "evl_1_2", "verdict": "reject", "end": "reject"}
