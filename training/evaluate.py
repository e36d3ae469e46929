"""Evaluates a candidate against the live adapter and lets the gate judge. Loads no model: it is handed a scorer.

The scorer is the engine that serves customers, so what is judged is what would be served.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Protocol

from shoptalk.domain import AdapterRef, Example, GateDecision, Message
from shoptalk.store import Store
from shoptalk.store.ingest import turns
from shoptalk.store.labeling import samples
from shoptalk.store.training import evaluations
from training.dataset import FrozenDataset, invents
from training.gate import AdapterEvidence, Evidence, GateLimits, judge
from training.probes import PROBES, failed

GENERATED = 48  # holdout messages answered for real
SCORED = 200  # holdout examples scored at most
LOOKED_AT = 2000  # replies that say how often a reply is a conversation's first
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
        holdout = chosen(dataset.holdout, SCORED)
        found = {ref: self._evidence(ref, holdout, report) for ref in dict.fromkeys((candidate, live))}
        numbers = {group: n for n, group in enumerate(dict.fromkeys(e.group for e in holdout))}
        evidence = Evidence(
            found[candidate],
            found[live],
            customers=[numbers[e.group] for e in holdout],
            first=[is_first(e) for e in holdout],
            first_share=self._first_share(),
        )
        decision = judge(evidence, self._limits)
        record = evaluations.Evaluation(
            evaluation_id,
            str(candidate),
            str(live),
            dataset.id,
            {
                **dataclasses.asdict(evidence),
                "figures": dict(decision.metrics),
                "limits": dataclasses.asdict(self._limits),
            },
            decision.verdict,
            decision.reasons,
            self._store.now(),
        )
        with self._store.write() as conn:
            evaluations.add(conn, record)
        return record

    def _first_share(self) -> float:
        """Return the share of first replies among the newest that customers got; a half where there are none."""
        with self._store.read() as conn:
            newest = turns.newest_replies(conn, LOOKED_AT)
            first = samples.first_replies(conn, newest)
        return len(first) / len(newest) if newest else 0.5

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


def is_first(example: Example) -> bool:
    """Return whether it is a conversation's first reply."""
    return sum(m.role != "system" for m in example.messages) == 1


def chosen(holdout: Sequence[Example], most: int) -> list[Example]:
    """Return at most `most` examples: of different customers as far as there are, the same ones each time.

    A customer's second example comes after all customers' first, and so on, so the first ones in the list, which are
    answered for real, are of different customers too.
    """
    order = sorted(holdout, key=lambda e: hashlib.sha256(e.label_id.encode()).digest())
    seen: Counter[str] = Counter()
    turn = {}
    for example in order:
        turn[example.label_id] = seen[example.group]
        seen[example.group] += 1
    return sorted(order, key=lambda e: turn[e.label_id])[:most]


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


def replay(record: evaluations.Evaluation) -> GateDecision:
    """Return the gate's decision on recorded evidence, with the limits that were valid then."""
    limits = record.evidence.get("limits")
    return judge(Evidence.from_dict(dict(record.evidence)), GateLimits(**limits) if limits else None)
