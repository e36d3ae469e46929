"""Gathering the evidence, with an engine made up for the purpose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from shoptalk.domain import AdapterRef, Message, Verdict
from shoptalk.store import Store
from shoptalk.store.training import evaluations
from tests.training.world import PROMPT, example
from training.dataset import FrozenDataset, invents
from training.evaluate import Evaluator, another_reply, chosen, repeats, replay
from training.gate import GateLimits
from training.probes import PROBES

OLD, NEW = AdapterRef("shop", 1), AdapterRef("shop", 2)
DATASET = FrozenDataset("ds_1", PROMPT, (example(99),), tuple(example(n) for n in range(40)))
LIMITS = GateLimits()


class FakeScorer:
    """The new adapter likes the right replies better; both like other replies less."""

    def __init__(self, gain: float = 1.0, reply: str = "It is on its way.") -> None:
        self.gain, self.reply = gain, reply
        self.scored = 0
        self.asked: list[str] = []

    def score(self, adapter: AdapterRef, messages: Sequence[Message], replies: Sequence[str]) -> list[float]:
        return [self._score(adapter, messages, reply) for reply in replies]

    def _score(self, adapter: AdapterRef, messages: Sequence[Message], reply: str) -> float:
        self.scored += 1
        number = messages[-1].content.rstrip("?").rpartition(" ")[2]
        right = f"Order {number} " in reply
        return 3.0 + 0.01 * int(number) - (self.gain if adapter == NEW else 0.0) + (0.0 if right else 2.0)

    def generate(self, adapter: AdapterRef, chats: Sequence[Sequence[Message]]) -> list[str]:
        self.asked += [chat[-1].content for chat in chats]
        return [self.reply if adapter == NEW else "It is on its way." for _ in chats]


def evaluate(store: Store, engine: FakeScorer, name: str = "evl_1") -> evaluations.Evaluation:
    return Evaluator(store, engine, LIMITS).evaluate(name, NEW, OLD, DATASET)


def test_a_better_adapter_is_promoted_and_on_record(sqlite_store: Store) -> None:
    engine = FakeScorer()
    reported: list[tuple[str, int, int]] = []
    record = Evaluator(sqlite_store, engine, LIMITS).evaluate(
        "evl_1", NEW, OLD, DATASET, lambda *step: reported.append(step)
    )
    assert record.verdict is Verdict.PROMOTE
    assert (record.adapter, record.against, record.dataset_id) == ("shop@v2", "shop@v1", "ds_1")
    assert engine.scored == 2 * 2 * 40
    assert {message for probe in PROBES for message in probe.messages} <= set(engine.asked)
    assert reported[-1][1] == reported[-1][2]
    with sqlite_store.read() as conn:
        kept = evaluations.find(conn, "evl_1")
    assert kept is not None
    assert (kept.verdict, kept.reasons) == (record.verdict, record.reasons)
    assert replay(kept) == replay(record)
    assert replay(record).reasons == record.reasons


def test_a_verdict_is_repeated_with_the_limits_of_its_time(sqlite_store: Store) -> None:
    strict = Evaluator(sqlite_store, FakeScorer(), GateLimits(min_examples=41)).evaluate("evl_2", NEW, OLD, DATASET)
    assert strict.verdict is Verdict.INCONCLUSIVE
    assert replay(strict).reasons == strict.reasons
    older = replace(
        strict, evidence={k: v for k, v in strict.evidence.items() if k in ("candidate", "live", "bank_failed")}
    )
    assert replay(older).verdict is Verdict.PROMOTE  # it kept no limits: the usual ones


def test_later_replies_are_judged_however_many_first_ones_are_held_out(sqlite_store: Store) -> None:
    first = tuple(example(n) for n in range(600))
    later = tuple(
        replace(example(n), messages=(*example(n).messages[:1], Message("user", "hello"), Message("assistant", "hi"),
                                      example(n).messages[-1]))
        for n in range(600, 900)
    )  # fmt: skip
    dataset = FrozenDataset("ds_3", PROMPT, (example(999),), (*first, *later))
    record = Evaluator(sqlite_store, FakeScorer(), LIMITS).evaluate("evl_3", NEW, OLD, dataset)
    assert len(record.evidence["first"]) == 200
    assert 40 <= record.evidence["first"].count(False) <= 95


def test_customers_come_before_their_second_examples() -> None:
    loud = [example(n, "cus_loud") for n in range(150)]
    quiet = [example(n) for n in range(150, 180)]
    found = chosen([*loud, *quiet], 48)
    assert len({e.group for e in found[:31]}) == 31
    assert len(found) == 48
    assert chosen([*quiet, *loud], 48) == found  # the same ones each time


def test_an_evaluation_is_made_once(sqlite_store: Store) -> None:
    first = evaluate(sqlite_store, FakeScorer())
    engine = FakeScorer(gain=-1.0)
    assert evaluate(sqlite_store, engine).verdict is first.verdict
    assert engine.scored == 0


@pytest.mark.parametrize(
    ("engine", "verdict"),
    [
        (FakeScorer(gain=0.0), Verdict.INCONCLUSIVE),
        (FakeScorer(gain=-0.5), Verdict.REJECT),
        (FakeScorer(reply="..."), Verdict.REJECT),
        (FakeScorer(reply="your order <ORDER_ID_7> left"), Verdict.REJECT),
        (FakeScorer(reply="we are so very sorry " * 4), Verdict.REJECT),
        (FakeScorer(reply="Your password is hunter2"), Verdict.REJECT),
    ],
)
def test_verdicts(sqlite_store: Store, engine: FakeScorer, verdict: Verdict) -> None:
    assert evaluate(sqlite_store, engine).verdict is verdict


def test_an_adapter_compared_with_itself_is_inconclusive(sqlite_store: Store) -> None:
    record = Evaluator(sqlite_store, FakeScorer(), LIMITS).evaluate("evl_1", NEW, NEW, DATASET)
    assert record.verdict is Verdict.INCONCLUSIVE


def test_repetition() -> None:
    assert repeats("a b c d " * 3)
    assert not repeats("a b c d " * 2)
    assert not repeats("")


def test_another_reply_reads_differently() -> None:
    alike = [replace(example(n), reply="Glad to help.") for n in range(5)]
    assert [another_reply(alike, i) for i in range(5)] == [None] * 5
    mixed = [*alike, replace(example(9), reply="No.")]
    assert [another_reply(mixed, i) for i in range(6)] == ["No."] * 5 + ["Glad to help."]
    plain = [example(n) for n in range(6)]
    assert [another_reply(plain, i) for i in range(6)] == [plain[(i + 3) % 6].reply for i in range(6)]


def test_replies_that_all_read_alike_say_nothing_of_relevance(sqlite_store: Store) -> None:
    """Two scores of one text may differ by rounding, which is no proof of anything."""
    alike = tuple(replace(example(n), reply="Order 1 is on its way.") for n in range(40))
    dataset = FrozenDataset("ds_2", PROMPT, (example(99),), alike)
    engine = FakeScorer()
    record = Evaluator(sqlite_store, engine, LIMITS).evaluate("evl_9", NEW, OLD, dataset)
    assert engine.scored == 2 * 40
    assert record.evidence["figures"]["relevance_candidate"] == 0


def test_invention() -> None:
    asked = ["Where is <ORDER_ID_1>?"]
    assert not invents(asked, "<ORDER_ID_1> is on its way.")
    assert invents(asked, "<ORDER_ID_2> is on its way.")
    assert not invents(asked, "On its way.")
