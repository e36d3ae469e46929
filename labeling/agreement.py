"""Makes one label of several annotators' answers, and measures how far they agree.

Pure: knows annotations and labels, neither store nor server. Texts in annotations are scrubbed already.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import combinations

from labeling.config import FLAGS, NEEDS_CORRECTION, NEEDS_HUMAN, VERDICTS
from shoptalk.domain import Label, LabelVerdict, Sample
from shoptalk.store.labeling.labels import Annotation


def combine(sample: Sample, bot_reply: str | None, annotations: Iterable[Annotation]) -> Label | None:
    """The sample's label, or None where nobody answered: all skipped, withdrawn, or without a verdict.

    Verdict: the majority's, of a tie the worse. Rating: the median, of two the lower. Flags: anybody's.
    """
    answers = _latest_each(annotations)
    if not answers:
        return None
    verdicts: list[LabelVerdict] = [a.result["verdict"] for a in answers]
    verdict = _majority(verdicts)
    ratings = [a.result["rating"] for a in answers if "rating" in a.result]
    intents = [a.result["intent"] for a in answers if "intent" in a.result]
    raised = {flag for a in answers for flag in a.result.get("flags", ())}
    flags = tuple(flag for flag in FLAGS if flag in raised)
    return Label(
        id="lab_" + sample.id.removeprefix("smp_"),
        sample_id=sample.id,
        turn_id=sample.turn_id,
        conversation_id=sample.conversation_id,
        verdict=verdict,
        reply=_reply(verdict, flags, bot_reply, answers),
        rating=statistics.median_low(ratings) if ratings else None,
        intent=_most_common(intents),
        flags=flags,
        annotators=len(answers),
        agreement=pairwise_agreement(verdicts),
        updated_at=max(a.updated_at for a in answers),
    )


def pairwise_agreement(values: Sequence[str]) -> float | None:
    """The share of pairs of annotators that say the same; None for fewer than two."""
    pairs = list(combinations(values, 2))
    return sum(a == b for a, b in pairs) / len(pairs) if pairs else None


def krippendorff_alpha(units: Iterable[Sequence[str]]) -> float | None:
    """Agreement beyond chance on nominal values: 1 perfect, 0 as by chance, below 0 systematic disagreement.

    `units` holds each sample's values by all its annotators; samples with fewer than two do not count. None where
    nothing can be said: no sample with two values, or only one value in all. After K. Krippendorff, "Computing
    Krippendorff's Alpha-Reliability" (2011), part C, nominal data, any number of observers, missing values allowed.
    """
    totals: Counter[str] = Counter()
    disagreed = 0.0
    for values in units:
        m = len(values)
        if m < 2:
            continue
        counts = Counter(values)
        totals.update(counts)
        disagreed += (m * m - sum(n * n for n in counts.values())) / (m - 1)
    n = sum(totals.values())
    by_chance = n * n - sum(c * c for c in totals.values())
    return 1 - (n - 1) * disagreed / by_chance if by_chance else None


def _latest_each(annotations: Iterable[Annotation]) -> list[Annotation]:
    """Each annotator's latest answer that has a verdict and is not skipped, oldest first."""
    latest: dict[object, Annotation] = {}
    for a in sorted(annotations, key=lambda a: (a.updated_at, a.id)):
        if not a.skipped and a.result.get("verdict") in VERDICTS:
            latest[("unknown", a.id) if a.annotator is None else a.annotator] = a
    return sorted(latest.values(), key=lambda a: (a.updated_at, a.id))


def _majority(verdicts: Sequence[LabelVerdict]) -> LabelVerdict:
    counts = Counter(verdicts)
    return max(counts, key=lambda v: (counts[v], VERDICTS.index(v)))


def _most_common(values: Sequence[str]) -> str | None:
    """The most frequent value; of a tie the latest."""
    counts = Counter(values)
    return max(counts, key=lambda v: (counts[v], max(i for i, x in enumerate(values) if x == v)), default=None)


def _reply(
    verdict: LabelVerdict, flags: Sequence[str], bot_reply: str | None, answers: Sequence[Annotation]
) -> str | None:
    """The text worth learning. An unchanged bot reply is no correction of a reply that was judged wanting."""
    if NEEDS_HUMAN in flags:
        return None
    if verdict == "good" and not NEEDS_CORRECTION.intersection(flags):
        return bot_reply
    corrections = [
        str(a.result["correction"]).strip()
        for a in answers
        if a.result.get("correction") and a.result["verdict"] != "good"
    ]
    original = (bot_reply or "").strip()
    return next((text for text in reversed(corrections) if text and text != original), None)
