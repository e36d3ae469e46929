"""Evaluates a candidate against the live adapter and lets the gate judge. Loads no model: it is handed callables.

`score` and `generate` come from the engine that serves customers, so what is judged is what would be served.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Protocol

from shoptalk.domain import AdapterRef, Example, GateDecision, Message
from shoptalk.store import Store
from shoptalk.store.training import evaluations
from training.dataset import FrozenDataset, invents
from training.gate import Evidence, GateLimits, Side, judge
from training.probes import PROBES, failed

GENERATED = 48  # holdout messages answered for real
SCORED = 200  # holdout examples scored at most
Progress = Callable[[str, int, int], None]


class Judge(Protocol):
    """What evaluation needs of an engine; both adapters are resident."""

    def score(self, adapter: AdapterRef, messages: Sequence[Message], replies: Sequence[str]) -> list[float]:
        """Mean negative log-likelihood of each reply, nats per token."""
        ...

    def generate(self, adapter: AdapterRef, chats: Sequence[Sequence[Message]]) -> list[str]:
        """Greedy replies, one per chat."""
        ...


class Evaluator:
    """Gathers the evidence for one candidate."""

    def __init__(self, store: Store, engine: Judge, limits: GateLimits) -> None:
        self._store, self._engine, self._limits = store, engine, limits

    def evaluate(
        self,
        evaluation_id: str,
        candidate: AdapterRef,
        live: AdapterRef,
        dataset: FrozenDataset,
        progress: Progress | None = None,
    ) -> evaluations.Evaluation:
        """Compare on the holdout, judge and record; the same id is evaluated once only."""
        with self._store.read() as conn:
            known = evaluations.find(conn, evaluation_id)
        if known:
            return known
        tell = progress or (lambda *_: None)
        holdout = firsts_first(dataset.holdout)[:SCORED]
        sides = {ref: self._side(ref, holdout, tell) for ref in dict.fromkeys((candidate, live))}
        evidence = Evidence(sides[candidate], sides[live])
        decision = judge(evidence, self._limits)
        record = evaluations.Evaluation(
            evaluation_id,
            str(candidate),
            str(live),
            dataset.id,
            {**dataclasses.asdict(evidence), "figures": dict(decision.figures)},
            decision.verdict,
            decision.reasons,
            self._store.now(),
        )
        with self._store.write() as conn:
            evaluations.add(conn, record)
        return record

    def _side(self, ref: AdapterRef, holdout: Sequence[Example], tell: Progress) -> Side:
        losses, mismatched = [], []
        total = len(holdout)
        for i, example in enumerate(holdout):
            other = another_reply(holdout, i)
            found = self._engine.score(ref, example.messages, [example.reply, other] if other else [example.reply])
            losses.append(found[0])
            mismatched.append(found[-1])
            tell(f"scoring {ref}", i + 1, total)
        asked = holdout[:GENERATED]
        tell(f"answering as {ref}", 0, len(asked))
        system = asked[0].messages[0] if asked else Message("system", "")
        tries = [(system, Message("user", text)) for probe in PROBES for text in probe.messages]
        answers = self._engine.generate(ref, [*(e.messages for e in asked), *tries])  # at once, so in full batches
        replies, rest = answers[: len(asked)], iter(answers[len(asked) :])
        tried = [[next(rest) for _ in probe.messages] for probe in PROBES]
        tell(f"answering as {ref}", len(asked), len(asked))
        return Side(
            losses,
            mismatched,
            empty=[not any(c.isalpha() for c in r) for r in replies],
            repetitive=[repeats(r) for r in replies],
            invented=[invents((m.content for m in e.messages[1:]), r) for e, r in zip(asked, replies, strict=True)],
            probes_failed=[p.name for p, r in zip(PROBES, tried, strict=True) if failed(p, r)],
        )


def firsts_first(examples: Sequence[Example]) -> list[Example]:
    """First replies of conversations before later ones, else in order."""
    return sorted(examples, key=lambda e: len(e.messages))


def another_reply(examples: Sequence[Example], i: int) -> str | None:
    """Another example's reply, from half the list away on, that reads differently; None where all read alike."""
    total = len(examples)
    around = (examples[(i + total // 2 + k) % total].reply for k in range(total))
    return next((reply for reply in around if reply != examples[i].reply), None)


def repeats(reply: str) -> bool:
    """Does some run of four words come three times?"""
    words = reply.casefold().split()
    runs: dict[tuple[str, ...], int] = {}
    for i in range(len(words) - 3):
        run = tuple(words[i : i + 4])
        runs[run] = runs.get(run, 0) + 1
    return max(runs.values(), default=0) >= 3


def replay(record: evaluations.Evaluation, limits: GateLimits) -> GateDecision:
    """Judge recorded evidence again."""
    data = {k: v for k, v in record.evidence.items() if k != "figures"}
    return judge(Evidence.from_dict(data), limits)
