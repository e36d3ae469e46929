"""The gate: a pure function from evidence to promote, reject or inconclusive, with reasons in plain English.

Knows no model and no store. The same evidence always gives the same verdict, so any decision can be replayed.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence
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
    """Everything that the gate sees.

    `customers` and `first` are parallel to the losses; evidence of older versions has neither: then each example has a
    customer of its own, and all count alike.
    """

    candidate: AdapterEvidence
    live: AdapterEvidence
    bank_failed: Sequence[str] = ()  # regression cases the live adapter meets and the candidate does not
    customers: Sequence[int] = ()  # per example: the number of its customer
    first: Sequence[bool] = ()  # per example: whether it is a conversation's first reply
    first_share: float = 0.5  # of first replies among those that customers got

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Evidence:
        """Return evidence from what `dataclasses.asdict` made of it."""
        candidate, live = (AdapterEvidence(**data[name]) for name in ("candidate", "live"))
        rest = {f.name: data[f.name] for f in dataclasses.fields(cls)[2:] if f.name in data}
        return cls(candidate, live, **rest)


@dataclass(frozen=True, slots=True)
class GateLimits:
    """Thresholds of the gate. They are kept with each verdict, which is repeated with them."""

    min_examples: int = 30  # of different customers
    max_worse: float = 0.05  # how much a share of bad replies may rise over the live adapter's
    min_relevance: float = 0.9  # the share of the live adapter's attention to the customer that must remain
    negligible: float = 0.005  # nats per token: as much as rounding in bfloat16 may make


@dataclass(frozen=True, slots=True)
class Votes:
    """How much each example counts: one vote a customer, and first and later replies as in customers' traffic."""

    #: per group of examples (first replies, later ones): its share, and the examples of each of its customers
    groups: Sequence[tuple[float, Mapping[int, Sequence[int]]]]
    #: how many different customers there are
    customers: int

    @classmethod
    def of(cls, evidence: Evidence) -> Votes:
        """Return the votes; where one group is empty the other has all."""
        n = len(evidence.candidate.losses)
        customers = evidence.customers or range(n)
        first = evidence.first or [True] * n
        groups: dict[bool, dict[int, list[int]]] = {}
        for i, (customer, is_first) in enumerate(zip(customers, first, strict=True)):
            groups.setdefault(is_first, {}).setdefault(customer, []).append(i)
        shares = {True: evidence.first_share, False: 1 - evidence.first_share} if len(groups) == 2 else {}
        return cls([(shares.get(which, 1.0), found) for which, found in groups.items()], len(set(customers)))

    def mean(self, values: Sequence[float]) -> float:
        """Return the weighted mean of one value per example."""
        return math.fsum(
            share * statistics.fmean(statistics.fmean(values[i] for i in mine) for mine in found.values())
            for share, found in self.groups
        )

    def interval(self, values: Sequence[float]) -> tuple[float, float, float]:
        """Return (mean, lower limit, upper limit), the limits one-sided at 95 % (normal approximation).

        The variance is that of a stratified mean whose units are customers, who may be in both groups: W. G. Cochran,
        "Sampling Techniques", 3rd edition, 1977, chapters 5 and 9.
        """
        pulls: dict[int, float] = {}  # of each customer, on the mean
        for share, found in self.groups:
            means = {customer: statistics.fmean(values[i] for i in mine) for customer, mine in found.items()}
            middle = statistics.fmean(means.values())
            for customer, value in means.items():
                pulls[customer] = pulls.get(customer, 0.0) + share * (value - middle) / len(means)
        mean, n = self.mean(values), self.customers
        if n < 2:
            return mean, -math.inf, math.inf
        half = T95 * math.sqrt(n / (n - 1) * math.fsum(pull**2 for pull in pulls.values()))
        return mean, mean - half, mean + half


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
    votes = Votes.of(evidence)
    metrics: dict[str, Any] = {"examples": n, "customers": votes.customers}
    if votes.customers < limits.min_examples:
        found.open.append(f"only {votes.customers} customers' held-out examples; {limits.min_examples} are needed")
    broken = sum(
        not math.isfinite(x) for x in (*candidate.losses, *candidate.mismatched, *live.losses, *live.mismatched)
    )
    if broken:
        found.bad.append(f"{broken} losses are no numbers")
    elif n:
        metrics |= _losses(candidate, live, votes, found)
        metrics |= _relevance(candidate, live, limits, votes, found)
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


def _losses(candidate: AdapterEvidence, live: AdapterEvidence, votes: Votes, found: Findings) -> dict[str, Any]:
    """Compare the losses of the wanted replies in pairs; return the metrics."""
    mean, low, high = votes.interval([c - b for c, b in zip(candidate.losses, live.losses, strict=True)])
    ours, theirs = votes.mean(candidate.losses), votes.mean(live.losses)
    text = f"loss {ours:.3f} against {theirs:.3f} of the live adapter (difference {low:+.3f} to {high:+.3f})"
    if low > 0:
        found.bad.append(f"{text}: worse")
    elif high < 0:
        found.good.append(f"{text}: better")
    else:
        found.open.append(f"{text}: no proven difference")
    return {"loss_candidate": ours, "loss_live": theirs, "difference": mean, "low": low, "high": high}


def _relevance(
    candidate: AdapterEvidence, live: AdapterEvidence, limits: GateLimits, votes: Votes, found: Findings
) -> dict[str, Any]:
    """Test whether the candidate still prefers the right reply over another conversation's; return the metrics."""
    ours = [m - w for m, w in zip(candidate.mismatched, candidate.losses, strict=True)]
    theirs = [m - w for m, w in zip(live.mismatched, live.losses, strict=True)]
    gain, base = votes.mean(ours), votes.mean(theirs)
    _, _, high = votes.interval([o - limits.min_relevance * t for o, t in zip(ours, theirs, strict=True)])
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
