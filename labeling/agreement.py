"""Makes one label of several annotators' answers, and measures their agreement.

Pure: knows annotations and labels, but neither the store nor Label Studio. Texts in annotations are scrubbed already.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import combinations

from labeling.label_studio.config import FLAGS, NEEDS_CORRECTION, NEEDS_HUMAN, VERDICTS
from shoptalk.domain import Label, LabelVerdict, Sample
from shoptalk.store.labeling.labels import Annotation


def combine(sample: Sample, bot_reply: str | None, annotations: Iterable[Annotation]) -> Label | None:
    """Return the sample's label, or None where all answers are skipped, withdrawn or without a verdict.

    The verdict is the majority's, the worse one of a tie. The rating is the median, the lower one of two. A flag counts
    where anybody raised it.
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
    """Return the share of pairs of annotators that agree; None for fewer than two annotators."""
    pairs = list(combinations(values, 2))
    return sum(a == b for a, b in pairs) / len(pairs) if pairs else None


def krippendorff_alpha(units: Iterable[Sequence[str]]) -> float | None:
    """Return the agreement beyond chance on nominal values.

    1 is perfect agreement, 0 is agreement by chance, below 0 is systematic disagreement. `units` holds each sample's
    values by all its annotators; samples with fewer than two do not count. None where alpha is not defined: no sample
    with two values, or only one value in all. After K. Krippendorff, "Computing
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
    """Return each annotator's latest answer that has a verdict and is not skipped, oldest first."""
    latest: dict[object, Annotation] = {}
    for a in sorted(annotations, key=lambda a: (a.updated_at, a.id)):
        if not a.skipped and a.result.get("verdict") in VERDICTS:
            latest[("unknown", a.id) if a.annotator is None else a.annotator] = a
    return sorted(latest.values(), key=lambda a: (a.updated_at, a.id))


def _majority(verdicts: Sequence[LabelVerdict]) -> LabelVerdict:
    counts = Counter(verdicts)
    return max(counts, key=lambda v: (counts[v], VERDICTS.index(v)))


def _most_common(values: Sequence[str]) -> str | None:
    """Return the most frequent value, the latest one of a tie."""
    counts = Counter(values)
    return max(counts, key=lambda v: (counts[v], max(i for i, x in enumerate(values) if x == v)), default=None)


def _reply(
    verdict: LabelVerdict, flags: Sequence[str], bot_reply: str | None, answers: Sequence[Annotation]
) -> str | None:
    """Return the text worth learning, or None. A reply that was judged bad and left unchanged is no correction."""
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
