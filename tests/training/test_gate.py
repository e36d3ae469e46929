"""The gate is a pure function: what it says of evidence, and that it can be replayed."""

from __future__ import annotations

import dataclasses
import json
import random
import statistics
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoptalk.domain import Verdict
from training.gate import AdapterEvidence, Evidence, GateLimits, judge, sign_test


def side(mean: float, relevance: float = 1.0, n: int = 40, seed: int = 1) -> AdapterEvidence:
    rng = random.Random(seed)
    losses = [mean + rng.uniform(-0.1, 0.1) for _ in range(n)]
    others = [loss + relevance + rng.uniform(-0.05, 0.05) for loss in losses]
    return AdapterEvidence(losses, others, [False] * n, [False] * n, [False] * n)


LIVE = side(2.0)
BETTER = side(1.5, seed=2)


def some(bad: int, n: int = 40) -> list[bool]:
    """Flags of replies, the first `bad` of them set."""
    return [i < bad for i in range(n)]


def verdict(candidate: AdapterEvidence, live: AdapterEvidence = LIVE, **changes: object) -> Verdict:
    return judge(Evidence(candidate, live, **changes)).verdict  # type: ignore[arg-type]


def test_a_lower_loss_is_promoted() -> None:
    decision = judge(Evidence(BETTER, LIVE))
    assert decision.verdict is Verdict.PROMOTE
    assert "better" in decision.reasons[0]
    assert decision.metrics["examples"] == 40
    assert decision.metrics["high"] < 0


def test_a_higher_loss_is_rejected() -> None:
    decision = judge(Evidence(side(2.5, seed=2), LIVE))
    assert decision.verdict is Verdict.REJECT
    assert "worse" in decision.reasons[0]


def test_no_proven_difference_is_inconclusive() -> None:
    assert verdict(side(2.0, seed=2)) is Verdict.INCONCLUSIVE
    assert verdict(LIVE) is Verdict.INCONCLUSIVE


def test_too_few_examples_are_inconclusive() -> None:
    few = judge(Evidence(side(1.0, n=29), side(2.0, n=29)))
    assert few.verdict is Verdict.INCONCLUSIVE
    assert "only 29 customers" in few.reasons[0]
    assert judge(Evidence(side(1.0, n=29), side(2.0, n=29)), GateLimits(min_examples=20)).verdict is Verdict.PROMOTE
    assert verdict(AdapterEvidence([], []), AdapterEvidence([], [])) is Verdict.INCONCLUSIVE
    assert verdict(AdapterEvidence([1.0], [2.0]), AdapterEvidence([2.0], [3.0])) is Verdict.INCONCLUSIVE


def test_one_who_stops_listening_is_rejected_however_low_the_loss() -> None:
    """A stock phrase for everyone can have a low loss; the right reply must still be preferred."""
    deaf = judge(Evidence(side(0.5, relevance=0.5), LIVE))
    assert deaf.verdict is Verdict.REJECT
    assert "listens less" in deaf.reasons[0]
    assert verdict(side(1.5, relevance=0.95, seed=2)) is Verdict.PROMOTE


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"empty": some(5)}, "empty"),
        ({"repetitive": some(8)}, "repeat themselves"),
        ({"invented": some(8)}, "never gave"),
        ({"probes_failed": ["password"]}, "safety probes"),
    ],
)
def test_bad_replies_are_rejected_however_low_the_loss(changes: dict[str, object], said: str) -> None:
    decision = judge(Evidence(replace(BETTER, **changes), LIVE))  # type: ignore[arg-type]
    assert decision.verdict is Verdict.REJECT
    assert said in decision.reasons[0]


def test_faults_of_the_live_adapter_are_not_held_against_the_candidate() -> None:
    faults = {"repetitive": some(8), "invented": some(8), "probes_failed": ["password"]}
    assert verdict(replace(BETTER, **faults), replace(LIVE, **faults)) is Verdict.PROMOTE  # type: ignore[arg-type]


def test_a_few_more_bad_replies_may_be_chance() -> None:
    assert verdict(replace(BETTER, invented=some(3))) is Verdict.PROMOTE
    assert sign_test(3, 0) == 0.125
    assert sign_test(5, 0) == pytest.approx(1 / 32)
    assert sign_test(0, 0) == 1.0


def test_a_broken_regression_case_rejects() -> None:
    assert verdict(BETTER, bank_failed=["case 1"]) is Verdict.REJECT


LOSSES = st.floats(0, 20, allow_nan=False)
PAIRS = st.lists(st.tuples(LOSSES, LOSSES, LOSSES, LOSSES), min_size=1, max_size=60)


@given(PAIRS)
def test_a_worse_loss_is_never_promoted(rows: list[tuple[float, float, float, float]]) -> None:
    ours, theirs, other, others = map(list, zip(*rows, strict=True))
    decision = judge(
        Evidence(AdapterEvidence(ours, other), AdapterEvidence(theirs, others)), GateLimits(min_examples=1)
    )
    if statistics.fmean(ours) >= statistics.fmean(theirs):
        assert decision.verdict is not Verdict.PROMOTE
    assert decision.reasons


@given(PAIRS, st.lists(st.booleans(), max_size=30), st.lists(st.sampled_from(["a", "b"]), max_size=2))
def test_the_same_evidence_gives_the_same_verdict_after_storage(
    rows: list[tuple[float, float, float, float]], flags: list[bool], failed: list[str]
) -> None:
    ours, theirs, other, others = map(list, zip(*rows, strict=True))
    evidence = Evidence(
        AdapterEvidence(ours, other, flags, flags, flags, failed), AdapterEvidence(theirs, others, flags[::-1])
    )
    stored = json.loads(json.dumps(dataclasses.asdict(evidence)))
    assert judge(Evidence.from_dict(stored)) == judge(evidence)


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_is_never_promoted(broken: float) -> None:
    losses = [*BETTER.losses[:-1], broken]
    assert verdict(replace(BETTER, losses=losses)) is Verdict.REJECT


def test_one_customer_has_one_vote() -> None:
    """150 labels of one customer say less than 30 customers' one each."""
    loud, quiet = side(1.0, n=150, seed=3), side(2.1, n=30, seed=4)
    both = AdapterEvidence([*loud.losses, *quiet.losses], [*loud.mismatched, *quiet.mismatched])
    live = side(2.0, n=180)
    live = AdapterEvidence(live.losses, live.mismatched)
    assert verdict(both, live) is Verdict.PROMOTE
    decision = judge(Evidence(both, live, customers=[*([0] * 150), *range(1, 31)]))
    assert decision.verdict is not Verdict.PROMOTE
    assert decision.metrics["customers"] == 31
    alone = judge(Evidence(loud, side(2.0, n=150), customers=[0] * 150))
    assert alone.verdict is Verdict.INCONCLUSIVE
    assert "only 1 customers" in alone.reasons[0]


def test_first_and_later_replies_weigh_as_in_traffic() -> None:
    first, later = side(1.5, n=40, seed=2), side(2.2, n=40, seed=5)
    both = AdapterEvidence([*first.losses, *later.losses], [*first.mismatched, *later.mismatched])
    live = AdapterEvidence([*LIVE.losses] * 2, [*LIVE.mismatched] * 2)
    which = [*([True] * 40), *([False] * 40)]
    assert verdict(both, live, first=which, first_share=0.9) is Verdict.PROMOTE
    assert verdict(both, live, first=which, first_share=0.1) is Verdict.REJECT
    alone = judge(Evidence(BETTER, LIVE, first=[True] * 40, first_share=0.1))
    assert alone.metrics["loss_candidate"] == pytest.approx(statistics.fmean(BETTER.losses))


def test_without_customers_it_is_the_ordinary_interval() -> None:
    differences = [c - b for c, b in zip(BETTER.losses, LIVE.losses, strict=True)]
    decision = judge(Evidence(BETTER, LIVE))
    half = 1.645 * statistics.stdev(differences) / 40**0.5
    assert decision.metrics["low"] == pytest.approx(statistics.fmean(differences) - half)
    assert decision.metrics["high"] == pytest.approx(statistics.fmean(differences) + half)
