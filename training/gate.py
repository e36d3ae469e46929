"""The gate: a pure function from evidence to promote, reject or inconclusive, with reasons in plain English.

Knows no model and no store. The same evidence always gives the same verdict, so any decision can be replayed.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from shoptalk.domain import GateDecision, Verdict

FLAWS = {
    "empty": "are empty",
    "repetitive": "repeat themselves",
    "invented": "use data the customer never gave",
}
T95 = 1.645  # one-sided 95 % normal quantile; samples are 30 or more


@dataclass(frozen=True, slots=True)
class AdapterEvidence:
    """How one adapter did on the holdout. Lists are parallel over examples; losses are nats per token.

    `losses` are of the wanted replies, `mismatched` of another conversation's reply to the same message: the
    difference measures how much the adapter listens to the customer. The flags are of generated replies, parallel
    over the messages answered.
    """

    losses: Sequence[float]
    mismatched: Sequence[float]
    empty: Sequence[bool] = ()  # per reply: has no word
    repetitive: Sequence[bool] = ()  # repeats itself
    invented: Sequence[bool] = ()  # has a placeholder the conversation does not hold
    probes_failed: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that the gate sees."""

    candidate: AdapterEvidence
    live: AdapterEvidence
    bank_failed: Sequence[str] = ()  # regression cases the live adapter meets and the candidate does not

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Evidence:
        """Return evidence from what `dataclasses.asdict` made of it."""
        return cls(AdapterEvidence(**data["candidate"]), AdapterEvidence(**data["live"]), data["bank_failed"])


@dataclass(frozen=True, slots=True)
class GateLimits:
    """Thresholds of the gate."""

    min_examples: int = 30
    max_worse: float = 0.05  # how much a share of bad replies may rise over the live adapter's
    min_relevance: float = 0.9  # the share of the live adapter's attention to the customer that must remain
    negligible: float = 0.005  # nats per token: as much as rounding in bfloat16 may make


@dataclass(slots=True)
class Findings:
    """The reasons found so far: against a release, undecided, and for it."""

    bad: list[str] = field(default_factory=list)
    open: list[str] = field(default_factory=list)
    good: list[str] = field(default_factory=list)


def judge(evidence: Evidence, limits: GateLimits | None = None) -> GateDecision:
    """Reject if anything is proven worse, promote if the loss is proven lower, else call it inconclusive."""
    limits = limits or GateLimits()
    found = Findings()
    candidate, live = evidence.candidate, evidence.live
    n = len(candidate.losses)
    metrics: dict[str, Any] = {"examples": n}
    if n < limits.min_examples:
        found.open.append(f"only {n} held-out examples; {limits.min_examples} are needed")
    broken = sum(
        not math.isfinite(x) for x in (*candidate.losses, *candidate.mismatched, *live.losses, *live.mismatched)
    )
    if broken:
        found.bad.append(f"{broken} losses are no numbers")
    elif n:
        metrics |= _losses(candidate, live, found)
        metrics |= _relevance(candidate, live, limits, found)
    _replies(candidate, live, limits, found)
    if news := sorted(set(candidate.probes_failed) - set(live.probes_failed)):
        found.bad.append(f"fails safety probes the live adapter passes: {', '.join(news)}")
    if evidence.bank_failed:
        found.bad.append(f"breaks {len(evidence.bank_failed)} cases of the regression bank")
    if found.bad:
        return GateDecision(Verdict.REJECT, tuple(found.bad), metrics)
    if found.open:
        return GateDecision(Verdict.INCONCLUSIVE, tuple(found.open), metrics)
    return GateDecision(Verdict.PROMOTE, tuple(found.good), metrics)


def _losses(candidate: AdapterEvidence, live: AdapterEvidence, found: Findings) -> dict[str, Any]:
    """Compare the losses of the wanted replies in pairs; return the metrics."""
    mean, low, high = interval([c - b for c, b in zip(candidate.losses, live.losses, strict=True)])
    ours, theirs = statistics.fmean(candidate.losses), statistics.fmean(live.losses)
    text = f"loss {ours:.3f} against {theirs:.3f} of the live adapter (difference {low:+.3f} to {high:+.3f})"
    if low > 0:
        found.bad.append(f"{text}: worse")
    elif high < 0:
        found.good.append(f"{text}: better")
    else:
        found.open.append(f"{text}: no proven difference")
    return {"loss_candidate": ours, "loss_live": theirs, "difference": mean, "low": low, "high": high}


def _relevance(
    candidate: AdapterEvidence, live: AdapterEvidence, limits: GateLimits, found: Findings
) -> dict[str, Any]:
    """Test whether the candidate still prefers the right reply over another conversation's; return the metrics."""
    ours = [m - w for m, w in zip(candidate.mismatched, candidate.losses, strict=True)]
    theirs = [m - w for m, w in zip(live.mismatched, live.losses, strict=True)]
    gain, base = statistics.fmean(ours), statistics.fmean(theirs)
    _, _, high = interval([o - limits.min_relevance * t for o, t in zip(ours, theirs, strict=True)])
    text = f"prefers the right reply by {gain:.3f} nats a token, the live adapter by {base:.3f}"
    if high < -limits.negligible:
        found.bad.append(f"{text}: it listens less to the customer")
    else:
        found.good.append(text)
    return {"relevance_candidate": gain, "relevance_live": base}


def _replies(candidate: AdapterEvidence, live: AdapterEvidence, limits: GateLimits, found: Findings) -> None:
    """Find flaws that more of the candidate's replies have, by more than the limit and by more than chance."""
    for name, words in FLAWS.items():
        ours, theirs = getattr(candidate, name), getattr(live, name)
        if not ours or len(ours) != len(theirs):
            continue
        more = sum(o and not t for o, t in zip(ours, theirs, strict=True))
        fewer = sum(t and not o for o, t in zip(ours, theirs, strict=True))
        if more - fewer > limits.max_worse * len(ours) and sign_test(more, fewer) <= 0.05:
            found.bad.append(f"{sum(ours)} of its {len(ours)} replies {words}, {sum(theirs)} of the live adapter's")


def sign_test(more: int, fewer: int) -> float:
    """Return the p-value of the one-sided exact sign test.

    It is the probability that at least `more` of all changes go that way if both ways are equally likely.
    """
    n = more + fewer
    return float(sum(math.comb(n, k) for k in range(more, n + 1)) / 2**n)


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Return (mean, lower limit, upper limit), the limits one-sided at 95 % (normal approximation)."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return mean, -math.inf, math.inf
    half = T95 * statistics.stdev(values) / math.sqrt(len(values))
    return mean, mean - half, mean + half
