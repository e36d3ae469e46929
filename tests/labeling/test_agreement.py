"""From several annotations to one label, and the measures of agreement."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from labeling.agreement import combine, krippendorff_alpha, pairwise_agreement
from shoptalk.domain import Label, Sample
from shoptalk.store.database import Store
from shoptalk.store.labeling import labels
from shoptalk.store.labeling.labels import Annotation

from .world import START

SAMPLE = Sample(
    id="smp_1", turn_id="turn_1", conversation_id="c", round_id="r", inclusion_probability=0.5, strategy="usefulness"
)
BOT = "Your order ships soon."


def said(
    n: int, verdict: str | None = None, *, by: int | None = None, skipped: bool = False, **more: Any
) -> Annotation:
    result = {**({"verdict": verdict} if verdict else {}), **more}
    return Annotation(n, SAMPLE.id, n if by is None else by, skipped, result, 1.0, START + timedelta(seconds=n))


def label(*annotations: Annotation) -> Label:
    made = combine(SAMPLE, BOT, annotations)
    assert made is not None
    return made


def test_good_keeps_the_bots_reply() -> None:
    made = label(said(1, "good", rating=5, intent="shipping"))
    assert (made.verdict, made.reply, made.rating, made.intent) == ("good", BOT, 5, "shipping")
    assert (made.annotators, made.agreement) == (1, None)
    assert made.id == label(said(2, "bad")).id


def test_latest_correction_of_those_who_found_fault() -> None:
    made = label(
        said(1, "fixable", correction="one"), said(2, "bad", correction="two"), said(3, "good", correction="x")
    )
    assert (made.verdict, made.reply) == ("bad", "two")
    made = label(said(1, "fixable", correction="one"), said(2, "fixable", correction="two"), said(3, "good"))
    assert (made.verdict, made.reply) == ("fixable", "two")
    assert made.agreement == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [(["good", "bad"], "bad"), (["good", "fixable"], "fixable"), (["good", "good", "bad"], "good"),
     (["good", "fixable", "bad"], "bad"), (["fixable", "fixable", "bad", "bad"], "bad")],
)  # fmt: skip
def test_majority_and_of_a_tie_the_worse(verdicts: list[str], expected: str) -> None:
    assert label(*(said(i, v) for i, v in enumerate(verdicts, 1))).verdict == expected


def test_faulty_without_a_real_correction_teaches_nothing() -> None:
    assert label(said(1, "bad")).reply is None
    assert label(said(1, "fixable", correction=f" {BOT} ")).reply is None  # sent as it was filled in


@pytest.mark.parametrize("flag", ["pii_leak", "spam", "wrong_fact"])
def test_flags_bar_the_bots_own_reply(flag: str) -> None:
    assert label(said(1, "good", flags=[flag])).reply is None
    assert label(said(1, "fixable", flags=[flag], correction="better")).reply == "better"


def test_needs_human_bars_everything() -> None:
    assert label(said(1, "fixable", correction="better"), said(2, "good", flags=["needs_human"])).reply is None


def test_rating_median_and_flags_of_anybody() -> None:
    made = label(said(1, "good", rating=2, flags=["spam"]), said(2, "good", rating=4), said(3, "good", rating=5))
    assert (made.rating, made.flags) == (4, ("spam",))
    assert label(said(1, "good", rating=2), said(2, "good", rating=4)).rating == 2


def test_an_annotator_counts_once_with_the_latest() -> None:
    made = label(said(1, "bad", by=7), said(2, "good", by=7))
    assert (made.verdict, made.annotators) == ("good", 1)


def test_skipped_only_has_no_label() -> None:
    assert combine(SAMPLE, BOT, [said(1, skipped=True), said(2, "good", skipped=True), said(3)]) is None
    assert combine(SAMPLE, BOT, []) is None


def test_pairwise() -> None:
    assert pairwise_agreement(["good"]) is None
    assert pairwise_agreement(["good", "good"]) == 1
    assert pairwise_agreement(["good", "good", "bad"]) == pytest.approx(1 / 3)


def test_alpha_by_hand_and_at_its_ends() -> None:
    # ten units, two observers: coincidences aa 10, bb 4, ab + ba 6; alpha = 1 - 19 * 6 / (400 - 13**2 - 7**2)
    units = [["a", "a"]] * 5 + [["b", "b"]] * 2 + [["a", "b"]] * 3
    assert krippendorff_alpha(units) == pytest.approx(1 - 19 * 6 / (400 - 13**2 - 7**2))
    # Krippendorff's own example: four observers, twelve units, values missing
    rows = ["123321412...", "1233224125.3", ".3332342251.", "12332441251."]
    units = [[row[i] for row in rows if row[i] != "."] for i in range(12)]
    assert krippendorff_alpha(units) == pytest.approx(0.743, abs=0.0005)
    assert krippendorff_alpha([["a", "a"], ["b", "b"]]) == 1
    assert krippendorff_alpha([["a"], ["b"]]) is None
    assert krippendorff_alpha([["a", "a"]]) is None
    mixed = krippendorff_alpha([["a", "b"], ["b", "a"]])
    assert mixed is not None
    assert mixed < 0


def test_labels_and_withdrawals_in_the_store(store: Store) -> None:
    with store.write() as conn:
        assert labels.put_annotation(conn, said(1, "good"))
        assert not labels.put_annotation(conn, said(1, "good"))
        assert labels.put_annotation(conn, said(2, "bad"))
        assert labels.keep_annotations(conn, SAMPLE.id, [2]) == 1
        assert [a.id for a in labels.annotations_of(conn, SAMPLE.id)] == [2]
        made = label(said(1, "good"))
        labels.put(conn, made)
        labels.put(conn, label(said(1, "bad")))
        assert labels.verdicts(conn) == {"bad": 1}
