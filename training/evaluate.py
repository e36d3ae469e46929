"""Evaluates a candidate against the live adapter and lets the gate judge. Loads no model: it is handed a scorer.

The scorer is the engine that serves customers, so what is judged is what would be served.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Protocol

from shoptalk.domain import AdapterRef, Example, GateDecision, Message
from shoptalk.store import Store
from shoptalk.store.training import evaluations
from training.dataset import FrozenDataset, invents
from training.gate import AdapterEvidence, Evidence, GateLimits, judge
from training.probes import PROBES, failed

GENERATED = 48  # holdout messages answered for real
SCORED = 200  # holdout examples scored at most
OnProgress = Callable[[str, int, int], None]
"""Called with the activity, how much of it is done, and how much there is."""


class Scorer(Protocol):
    """An engine that scores given replies and generates its own. Both adapters are resident in it."""

    def score(self, adapter: AdapterRef, messages: Sequence[Message], replies: Sequence[str]) -> list[float]:
        """Return the mean negative log-likelihood of each reply, in nats per token."""
        ...

    def generate(self, adapter: AdapterRef, chats: Sequence[Sequence[Message]]) -> list[str]:
        """Return the greedy replies, one per chat."""
        ...


class Evaluator:
    """Gathers the evidence for one candidate."""

    def __init__(self, store: Store, scorer: Scorer, limits: GateLimits) -> None:
        self._store, self._scorer, self._limits = store, scorer, limits

    def evaluate(
        self,
        evaluation_id: str,
        candidate: AdapterRef,
        live: AdapterRef,
        dataset: FrozenDataset,
        on_progress: OnProgress | None = None,
    ) -> evaluations.Evaluation:
        """Compare on the holdout, judge, and record the evaluation. The same id is evaluated only once."""
        with self._store.read() as conn:
            known = evaluations.find(conn, evaluation_id)
        if known:
            return known
        report = on_progress or (lambda *_: None)
        holdout = firsts_first(dataset.holdout)[:SCORED]
        found = {ref: self._evidence(ref, holdout, report) for ref in dict.fromkeys((candidate, live))}
        evidence = Evidence(found[candidate], found[live])
        decision = judge(evidence, self._limits)
        record = evaluations.Evaluation(
            evaluation_id,
            str(candidate),
            str(live),
            dataset.id,
            {**dataclasses.asdict(evidence), "figures": dict(decision.metrics)},
            decision.verdict,
            decision.reasons,
            self._store.now(),
        )
        with self._store.write() as conn:
            evaluations.add(conn, record)
        return record

    def _evidence(self, ref: AdapterRef, holdout: Sequence[Example], report: OnProgress) -> AdapterEvidence:
        losses, mismatched = [], []
        total = len(holdout)
        for i, example in enumerate(holdout):
            other = another_reply(holdout, i)
            scores = self._scorer.score(ref, example.messages, [example.reply, other] if other else [example.reply])
            losses.append(scores[0])
            mismatched.append(scores[-1])
            report(f"scoring {ref}", i + 1, total)
        asked = holdout[:GENERATED]
        report(f"answering as {ref}", 0, len(asked))
        system = asked[0].messages[0] if asked else Message("system", "")
        tries = [(system, Message("user", text)) for probe in PROBES for text in probe.messages]
        answers = self._scorer.generate(ref, [*(e.messages for e in asked), *tries])  # all at once, so in full batches
        replies, rest = answers[: len(asked)], iter(answers[len(asked) :])
        tried = [[next(rest) for _ in probe.messages] for probe in PROBES]
        report(f"answering as {ref}", len(asked), len(asked))
        return AdapterEvidence(
            losses,
            mismatched,
            empty=[not any(c.isalpha() for c in r) for r in replies],
            repetitive=[repeats(r) for r in replies],
            invented=[invents((m.content for m in e.messages[1:]), r) for e, r in zip(asked, replies, strict=True)],
            probes_failed=[p.name for p, r in zip(PROBES, tried, strict=True) if failed(p, r)],
        )


def firsts_first(examples: Sequence[Example]) -> list[Example]:
    """Sort first replies of conversations before later ones, else keep the order."""
    return sorted(examples, key=lambda e: len(e.messages))


def another_reply(examples: Sequence[Example], i: int) -> str | None:
    """Return another example's reply with another text, searching from half the list away; None where all are alike."""
    total = len(examples)
    around = (examples[(i + total // 2 + k) % total].reply for k in range(total))
    return next((reply for reply in around if reply != examples[i].reply), None)


def repeats(reply: str) -> bool:
    """Return whether some run of four words occurs three times."""
    words = reply.casefold().split()
    runs: dict[tuple[str, ...], int] = {}
    for i in range(len(words) - 3):
        run = tuple(words[i : i + 4])
        runs[run] = runs.get(run, 0) + 1
    return max(runs.values(), default=0) >= 3


def replay(record: evaluations.Evaluation, limits: GateLimits) -> GateDecision:
    """Return the gate's decision on recorded evidence."""
    data = {k: v for k, v in record.evidence.items() if k != "figures"}
    return judge(Evidence.from_dict(data), limits)
