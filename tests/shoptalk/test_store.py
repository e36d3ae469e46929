"""Each noun's rows, on SQLite and PostgreSQL: what is written comes back, and twice is once."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from shoptalk.domain import (
    Adapter,
    AdapterRef,
    ApiKey,
    Feedback,
    Inference,
    Label,
    Release,
    ReleaseState,
    Sample,
    Scope,
    Turn,
    Verdict,
)
from shoptalk.store import Store, adapters, counters, rounds, schema, triggers, workers
from shoptalk.store.chat import answers, chats, inferences, keys, releases
from shoptalk.store.ingest import conversations, feature_queue, feedback, inbox, quarantine, turns
from shoptalk.store.labeling import labels, samples
from shoptalk.store.monitoring import drift_checks, reports
from shoptalk.store.training import datasets, evaluations, runs
from tests.clocks import now
from tests.rows import number

T0 = datetime(2026, 1, 1, 9, 0, tzinfo=UTC)


def later(minutes: int) -> datetime:
    return T0 + timedelta(minutes=minutes)


def an_adapter(version: int, run_id: str | None = None) -> Adapter:
    return Adapter(
        ref=AdapterRef("shop", version),
        weights_sha256="a" * 64,
        config_sha256="b" * 64,
        size_bytes=123,
        rank=8,
        base_sha256="c" * 64,
        dataset_id="ds_1",
        run_id=run_id,
        created_at=later(version),
    )


def test_adapters(store: Store) -> None:
    first, second = an_adapter(1, "run_1"), an_adapter(2)
    with store.write() as conn:
        assert adapters.next_version(conn, "shop") == 1
        adapters.add(conn, first)
        assert adapters.next_version(conn, "shop") == 2
        assert adapters.next_version(conn, "other") == 1
        adapters.add(conn, second)
        assert adapters.find(conn, AdapterRef("shop", 1)) == first
        assert adapters.find(conn, AdapterRef("shop", 3)) is None
        assert adapters.of_run(conn, "run_1") == first
        assert adapters.of_run(conn, "run_2") is None
        assert adapters.newest(conn, 5) == [second, first]
        assert adapters.newest(conn, 1) == [second]
    for again in (an_adapter(1), an_adapter(3, "run_1")):  # a version is taken once, and so is a run
        with pytest.raises(sa.exc.IntegrityError), store.write() as conn:
            adapters.add(conn, again)


def test_answers(store: Store) -> None:
    with store.write() as conn:
        assert answers.find(conn, "ans_1") is None
        assert answers.add(conn, "ans_1", "d" * 64, 200, b"encrypted", "con_1")
        assert not answers.add(conn, "ans_1", "e" * 64, 500, b"other", "con_1")
        assert answers.find(conn, "ans_1") == ("d" * 64, 200, b"encrypted")


def test_arrivals(store: Store) -> None:
    with store.write() as conn:
        for name, conversation in (("x", "con_1"), ("y", "con_2"), ("z", "con_1")):
            assert inbox.add(conn, name, "exchange", conversation, name.encode())
        assert not inbox.add(conn, "x", "feedback", "con_9", b"again")
        x, y, z = inbox.claim(conn, 10, now())
        assert [a.body for a in (x, y, z)] == [b"x", b"y", b"z"]
        assert inbox.backlog(conn) == (3, x.created_at)
        assert [a.id for a in inbox.claim(conn, 2, now() + timedelta(hours=1))] == ["x", "y"]
        assert [a.id for a in inbox.claim(conn, 2, now())] == ["z"]
        inbox.give_back(conn, [y.seq, z.seq])
        assert [a.id for a in inbox.claim(conn, 2, now())] == ["y", "z"]
        assert [a.id for a in inbox.claim(conn, 2, now(), after=y.seq)] == ["z"]
        assert inbox.waits_before(conn, "con_1", z.seq)
        assert not inbox.waits_before(conn, "con_1", x.seq)
        assert not inbox.waits_before(conn, "con_2", y.seq)
        assert inbox.remove(conn, [x.seq]) == 1
        assert inbox.remove(conn, [x.seq]) == 0
        assert inbox.count(conn) == 2


def test_chats(store: Store) -> None:
    opened = chats.StoredConversation("con_1", "key_1", "cus_1")
    nodes = [chats.Node("t1", None, "user", "1" * 64, None), chats.Node("t2", "t1", "assistant", "2" * 64, "inf_1")]
    with store.write() as conn:
        assert chats.find(conn, "con_1") is None
        assert chats.open_conversation(conn, opened, "chat")
        assert not chats.open_conversation(conn, chats.StoredConversation("con_1", "key_2", None), "chat")
        assert chats.find(conn, "con_1") == opened
        assert chats.customers(conn, ["con_1", "con_2"]) == {"con_1": "cus_1"}
        for node in nodes:
            chats.add_node(conn, "con_1", node)
        assert chats.nodes(conn, "con_1") == nodes
        assert chats.nodes(conn, "con_2") == []
    with pytest.raises(sa.exc.IntegrityError), store.write() as conn:  # no turn without a conversation
        chats.add_node(conn, "con_2", chats.Node("t3", None, "user", "3" * 64, None))


def test_datasets(store: Store) -> None:
    old = datasets.Dataset("ds_1", "a" * 64, 2, 1, "rnd_1", T0)
    new = datasets.Dataset("ds_2", "b" * 64, 3, 1, None, later(5))
    members = [("lbl_1", "train", "con_1"), ("lbl_2", "train", "con_1"), ("lbl_3", "holdout", "con_2")]
    with store.write() as conn:
        assert datasets.add(conn, old, members)
        assert not datasets.add(conn, dataclasses.replace(old, train=9), members)
        assert datasets.add(conn, new, [])
        assert datasets.find(conn, "ds_1") == old
        assert datasets.newest(conn) == [new, old]
        assert datasets.newest(conn, 1) == [new]
        assert datasets.conversations_of(conn, "ds_1") == ["con_1", "con_2"]
        datasets.assign(conn, {"cus_1": "holdout"})
        assert datasets.fixed_otherwise(conn, {"cus_1": "train", "cus_2": "train"})
        assert not datasets.fixed_otherwise(conn, {"cus_1": "holdout", "cus_2": "train"})
        datasets.assign(conn, {"cus_1": "train", "cus_2": "train"})
        assert datasets.splits(conn) == {"cus_1": "holdout", "cus_2": "train"}


def test_evaluations(store: Store) -> None:
    first = evaluations.Evaluation(
        "evl_1", "shop@v1", "shop@v0", "ds_1", {"a": [1.5]}, Verdict.REJECT, ("worse", "repeats"), T0
    )
    second = dataclasses.replace(first, id="evl_2", verdict=Verdict.PROMOTE, created_at=later(1))
    with store.write() as conn:
        assert evaluations.add(conn, first)
        assert not evaluations.add(conn, dataclasses.replace(first, verdict=Verdict.PROMOTE))
        assert evaluations.add(conn, second)
        assert evaluations.find(conn, "evl_1") == first
        assert evaluations.newest_of(conn, "shop@v1") == second
        assert evaluations.newest_of(conn, "shop@v2") is None
        assert evaluations.newest(conn) == [second, first]


def test_feedback(store: Store) -> None:
    items = [
        Feedback(
            id="fb_1",
            conversation_id="con_1",
            inference_id="inf_1",
            metric="thumbs",
            value=1.0,
            comment=None,
            created_at=T0,
        ),
        Feedback(
            id="fb_2",
            conversation_id="con_1",
            inference_id="inf_1",
            metric="thumbs",
            value=0.0,
            comment="no <ORDER_ID_1>",
            created_at=later(1),
        ),
        Feedback(
            id="fb_3",
            conversation_id="con_1",
            inference_id=None,
            metric="rating",
            value=4.0,
            comment=None,
            created_at=later(2),
        ),
    ]  # the second changes the customer's mind about the same reply
    with store.write() as conn:
        for item in items:
            changes = feedback.add(conn, item)
            assert changes is not None
            counters.add(conn, changes)
        assert feedback.add(conn, items[0]) is None
        assert feedback.add(conn, dataclasses.replace(items[0], id="fb_0")) == {}  # older than what counts
        assert feedback.of_inferences(conn, ["inf_1", "inf_2"])["inf_1"][-1] == items[1]
        assert feedback.totals(conn) == {"thumbs": (1, 0.0), "rating": (1, 4.0)}
        assert number(conn, schema.feedback) == 4
        assert samples.conversation_feedback(conn, ["con_1", "con_2"]) == {"con_1": items[2:]}
        gone, changes = feedback.erase(conn, ["con_1"])
        counters.add(conn, changes)
        assert (gone, feedback.totals(conn)) == (4, {})


def test_inferences(store: Store) -> None:
    made = [
        Inference(
            id=f"inf_{n}",
            conversation_id="con_1",
            alias="shop",
            adapter=f"shop@v{n % 2}",
            variant="live",
            propensity=1.0,
            prompt_tokens=9,
            completion_tokens=4,
            ttft_ms=1.5,
            latency_ms=2.5,
            finish_reason="stop",
            mean_logprob=-0.25,
            created_at=later(n),
        )
        for n in range(3)
    ]
    with store.write() as conn:
        for item in made:
            inferences.add(conn, item)
        assert inferences.find(conn, "inf_1") == made[1]
        assert inferences.find(conn, "inf_9") is None
        assert inferences.many(conn, ["inf_0", "inf_2", "inf_9"]) == {"inf_0": made[0], "inf_2": made[2]}
        assert inferences.by_adapter(conn) == {}  # none is admitted
        reply = Turn(
            id="t1", conversation_id="con_1", parent_id=None, role="assistant", text="hi", at=T0, inference_id="inf_1"
        )
        turns.add(conn, reply, 1, "0" * 64)
        assert inferences.admitted(conn, ["con_1", "con_2"]) == {"shop@v1": 1}


def test_keys(store: Store) -> None:
    key = ApiKey(
        id="key_1", name="shop front", scopes=frozenset({Scope.CHAT, Scope.FEEDBACK}), owner="shop", created_at=T0
    )
    with store.write() as conn:
        keys.add(conn, key, "f" * 64)
        assert keys.by_hash(conn, "f" * 64) == key
        assert keys.by_hash(conn, "0" * 64) is None
        assert keys.everyone(conn) == [key]
        assert keys.revoke(conn, "key_1")
        assert not keys.revoke(conn, "key_2")
        assert keys.by_hash(conn, "f" * 64) is None
        assert keys.everyone(conn)[0].revoked_at is not None
    with pytest.raises(sa.exc.IntegrityError), store.write() as conn:
        keys.add(conn, dataclasses.replace(key, id="key_2"), "f" * 64)


def a_label(n: int, verdict: str = "good") -> Label:
    return Label(
        id=f"lbl_{n}",
        sample_id=f"smp_{n}",
        turn_id=f"t{n}",
        conversation_id=f"con_{n}",
        verdict=verdict,
        reply="A reply.",
        rating=4,
        intent="order",
        flags=(),
        annotators=2,
        agreement=0.5,
        updated_at=later(n),
    )


def test_labels(store: Store) -> None:
    with store.write() as conn:
        samples.add(
            conn,
            Sample(
                id="smp_1",
                turn_id="t1",
                conversation_id="con_1",
                round_id="rnd_1",
                inclusion_probability=0.5,
                strategy="random",
            ),
        )
        labels.put(conn, a_label(1))
        labels.put(conn, a_label(2, "bad"))
        labels.put(conn, dataclasses.replace(a_label(1), id="lbl_x", flags=("unsafe",)))  # one label per sample
        kept = labels.everything(conn)
        assert [(k.sample_id, k.flags) for k in kept] == [("smp_1", ("unsafe",)), ("smp_2", ())]
        assert (labels.count(conn), labels.count(conn, "rnd_1"), labels.count(conn, "rnd_2")) == (2, 1, 0)
        assert labels.verdicts(conn) == {"good": 1, "bad": 1}
        labels.drop(conn, "smp_1")
        assert labels.everything(conn) == [a_label(2, "bad")]


def test_annotations(store: Store) -> None:
    made = [labels.Annotation(n, "smp_1", 7, False, {"verdict": ["good"]}, 3.5, later(n)) for n in (1, 2)]
    with store.write() as conn:
        assert all(labels.put_annotation(conn, item) for item in made)
        assert not labels.put_annotation(conn, made[0])
        changed = dataclasses.replace(made[0], skipped=True, updated_at=later(9))
        assert labels.put_annotation(conn, changed)
        assert not labels.put_annotation(conn, made[0])  # what is older never wins
        assert labels.annotations_of(conn, "smp_1") == [changed, made[1]]
        assert labels.keep_annotations(conn, "smp_1", [2]) == 1
        assert labels.annotations_of(conn, "smp_1") == [made[1]]
        assert labels.count_annotations(conn) == 1
        assert labels.keep_annotations(conn, "smp_1", []) == 1


def test_quarantine(store: Store) -> None:
    with store.write() as conn:
        assert quarantine.add(conn, "q1", "exchange", "con_1", "too long: " + "x" * 900, b"encrypted")
        assert not quarantine.add(conn, "q1", "exchange", "con_1", "other", None)
        assert quarantine.add(conn, "q2", "feedback", None, "no", None)
        assert sorted(quarantine.reasons(conn).values()) == [1, 1]


def a_release(n: int, state: ReleaseState) -> Release:
    return Release(
        id=f"rel_{n}",
        alias="shop",
        adapter=f"shop@v{n}",
        previous=f"shop@v{n - 1}",
        state=state,
        evaluation_id=None,
        actor="cli",
        created_at=later(n),
        updated_at=later(n),
    )


def test_releases(store: Store) -> None:
    one, two = a_release(1, ReleaseState.SUPERSEDED), a_release(2, ReleaseState.PENDING)
    with store.write() as conn:
        releases.put(conn, one)
        releases.put(conn, two)
        assert releases.live(conn, "shop") is None
        two = dataclasses.replace(two, state=ReleaseState.LIVE, updated_at=later(9))
        releases.put(conn, two)
        assert releases.find(conn, "rel_2") == two
        assert releases.live(conn, "shop") == two
        assert releases.live(conn, "other") is None
        assert releases.newest(conn) == [two, one]
        assert releases.newest(conn, alias="other") == []
        releases.add_event(conn, "rel_1", "start", ReleaseState.PENDING, "cli", "first")
        releases.add_event(conn, "rel_2", "promote", ReleaseState.LIVE, "cli", "second")
        assert [e.move for e in releases.events(conn)] == ["promote", "start"]
        assert [e.reason for e in releases.events(conn, release_id="rel_1")] == ["first"]


def test_desired_and_observed(store: Store) -> None:
    with store.write() as conn:
        releases.set_desired(conn, "shop", "shop@v1", None)
        releases.set_desired(conn, "shop", "shop@v2", "shop@v1")
        wanted = releases.desired_of(conn, "shop")
        assert wanted is not None
        assert (wanted.adapter, wanted.previous) == ("shop@v2", "shop@v1")
        assert releases.all_desired(conn) == [wanted]
        releases.set_observed(conn, "api_1", "shop", "shop@v1", "was altered")
        releases.set_observed(conn, "api_1", "shop", "shop@v2", None)
        assert [(o.adapter, o.problem) for o in releases.all_observed(conn)] == [("shop@v2", None)]
        releases.forget_observed(conn, "api_1")
        assert releases.all_observed(conn) == []


def test_rounds(store: Store) -> None:
    with store.write() as conn:
        for n in (2, 1):
            triggers.add(conn, triggers.Trigger(f"trg_{n}", "person", "asked", None, later(n)))
        assert rounds.untaken_triggers(conn) == [("trg_1", "person"), ("trg_2", "person")]
        assert rounds.open_for(conn, "trg_1", "rnd_1")
        assert not rounds.open_for(conn, "trg_1", "rnd_2")
        assert not rounds.open_for(conn, "trg_9", "rnd_9")
        assert rounds.untaken_triggers(conn) == [("trg_2", "person")]
        assert triggers.is_open(conn, "person")
        assert not triggers.is_open(conn, "drift")
        assert rounds.join(conn, "trg_2", "rnd_1")
        assert not rounds.join(conn, "trg_2", "rnd_1")
        assert [t.id for t in triggers.of_round(conn, "rnd_1")] == ["trg_1", "trg_2"]
        assert triggers.is_open(conn, "person")
        assert rounds.move(conn, "rnd_1", "wait", "labels")
        found = rounds.find(conn, "rnd_1")
        assert found is not None
        assert (found.state, found.step, found.trigger_id) == ("waiting", "labels", "trg_1")
        assert rounds.unfinished(conn) == rounds.newest(conn) == [found]
        assert rounds.learn_now(conn, "rnd_1")
        assert rounds.newest(conn)[0].learn_now
        assert rounds.move(conn, "rnd_1", "fail", "train", "no memory")
        assert not rounds.learn_now(conn, "rnd_1")
        assert not triggers.is_open(conn, "person")
        assert rounds.unfinished(conn) == []
        assert rounds.result(conn, "rnd_1", "sample") is None
        assert rounds.set_result(conn, "rnd_1", "sample", {"samples": 3}) == {"samples": 3}
        assert rounds.set_result(conn, "rnd_1", "sample", {"samples": 4}) == {"samples": 3}  # the first counts
        assert rounds.result(conn, "rnd_1", "sample") == {"samples": 3}
        assert rounds.results(conn, "rnd_1") == {"sample": {"samples": 3}}


def test_runs(store: Store) -> None:
    with store.write() as conn:
        runs.start(conn, "run_1", "ds_1", {"rank": 8}, 48)
        runs.progress(conn, "run_1", 5, {"loss": 2.5})
        found = runs.find(conn, "run_1")
        assert found is not None
        assert (found.state, found.step, found.steps, found.metrics) == ("running", 5, 48, {"loss": 2.5})
        runs.finish(conn, "run_1", problem="killed")
        runs.start(conn, "run_1", "ds_1", {"rank": 8}, 48)  # an interrupted run starts over
        found = runs.find(conn, "run_1")
        assert found is not None
        assert (found.state, found.step, found.problem) == ("running", 0, None)
        runs.finish(conn, "run_1", adapter="shop@v1")
        assert [(r.state, r.adapter) for r in runs.newest(conn)] == [("done", "shop@v1")]


def test_samples(store: Store) -> None:
    one = Sample(
        id="smp_1",
        turn_id="t2",
        conversation_id="con_1",
        round_id="rnd_1",
        inclusion_probability=0.25,
        strategy="usefulness",
    )
    two = Sample(
        id="smp_2",
        turn_id="t4",
        conversation_id="con_2",
        round_id="rnd_1",
        inclusion_probability=0.5,
        strategy="random",
    )
    with store.write() as conn:
        assert samples.add(conn, one)
        assert samples.add(conn, two)
        assert not samples.add(conn, dataclasses.replace(one, id="smp_3"))  # a turn is sampled once
        assert samples.unpushed(conn, 1) == [one]
        samples.set_tasks(conn, {"smp_1": 41})
        assert samples.unpushed(conn, 9) == [two]
        assert samples.find(conn, "smp_1") == dataclasses.replace(one, task_id=41)
        assert samples.find_many(conn, ["smp_2", "smp_9"]) == {"smp_2": two}
        assert [s.id for s in samples.of_round(conn, "rnd_1")] == ["smp_1", "smp_2"]
        assert (samples.count(conn), samples.count(conn, pushed=True)) == (2, 1)
        assert samples.project(conn, "shoptalk") is None
        samples.set_project(conn, "shoptalk", 3, None)
        samples.set_project(conn, "shoptalk", 3, T0)
        assert samples.project(conn, "shoptalk") == (3, T0)


def add_turns(conn: sa.Connection, rows: Sequence[tuple[str, str, str | None, str, str | None]]) -> list[Turn]:
    made = []
    for n, (name, conversation, parent, role, text) in enumerate(rows):
        made_by = f"inf_{name}" if role == "assistant" else None
        turn = Turn(
            id=name,
            conversation_id=conversation,
            parent_id=parent,
            role=role,
            text=text,
            at=later(n),
            inference_id=made_by,
            reason=None if text else "failed",
        )  # type: ignore[arg-type]
        assert turns.add(conn, turn, n + 1, hashlib.sha256((text or name).encode()).hexdigest())
        made.append(turn)
    return made


TREE: list[tuple[str, str, str | None, str, str | None]] = [
    ("a1", "con_a", None, "user", "hello"),
    ("a2", "con_a", "a1", "assistant", "hi"),
    ("a2b", "con_a", "a1", "assistant", "good day"),
    ("b1", "con_b", None, "user", None),
    ("a3", "con_a", "a2b", "user", "hello"),
    ("a4", "con_a", "a3", "assistant", "yes"),
]


def test_turns(store: Store) -> None:
    with store.write() as conn:
        a1, a2, a2b, b1, a3, a4 = add_turns(conn, TREE)
        assert not turns.add(conn, a1, 99, "0" * 64)
        assert turns.find(conn, "b1") == b1
        assert turns.many(conn, ["a1", "a4", "zz"]) == {"a1": a1, "a4": a4}
        assert turns.of_conversation(conn, "con_a") == [a1, a2, a2b, a3, a4]
        assert turns.path_to(conn, "a4") == [a1, a2b, a3, a4]
        assert turns.path_to(conn, "zz") == []
        assert (number(conn, schema.turns), turns.last_seq(conn)) == (6, 6)
        assert turns.after(conn, "v1", 2, 2) == [("a2b", 3, False), ("a3", 5, False)]
        assert samples.candidates(conn, 9) == [
            ("a4", "con_a", "inf_a4"),
            ("a2b", "con_a", "inf_a2b"),
            ("a2", "con_a", "inf_a2"),
        ]
        assert samples.first_replies(conn, ["a2", "a2b", "a4"]) == {"a2", "a2b"}


def test_an_empty_store_has_no_turns(store: Store) -> None:
    with store.read() as conn:
        assert (turns.last_seq(conn), turns.count(conn), turns.after(conn, "v1", 0, 5)) == (0, 0, [])


def test_features(store: Store) -> None:
    row = turns.Features("a1", 5, 1, True, b"\x00\x01")
    with store.write() as conn:
        a1, *_ = add_turns(conn, TREE)
        assert feature_queue.waiting(conn) == 5
        assert feature_queue.claim(conn, 2) == ["a1", "a2"]
        assert feature_queue.claim(conn, 9) == ["a2b", "a3", "a4"]
        assert feature_queue.claim(conn, 9) == []
        feature_queue.done(conn, ["a1", "a3"])
        assert (feature_queue.waiting(conn), feature_queue.waiting(conn, 2)) == (3, 2)
        turns.add_features(conn, "v1", [row])
        turns.add_features(conn, "v1", [dataclasses.replace(row, words=7)])  # computed once
        assert turns.features(conn, "v1", ["a1", "a2"]) == {"a1": row}
        assert turns.features(conn, "v2", ["a1"]) == {}
        turns.rewrite(conn, "a1", "hello <NAME_1>", "1" * 64)
        assert turns.find(conn, "a1") == dataclasses.replace(a1, text="hello <NAME_1>")
        assert turns.features(conn, "v1", ["a1"]) == {}
        assert feature_queue.claim(conn, 9) == ["a1"]  # to be computed again
        changes, clusters = turns.erase(conn, ["con_a"])
        assert (changes, clusters) == ({"turns": -5.0}, [])
        assert feature_queue.waiting(conn) == 0


def test_counts_of_personal_data(store: Store) -> None:
    with store.write() as conn:
        turns.add_pii_counts(conn, "inf_1", "con_1", {"EMAIL": 2, "NAME": 1}, "s1")
        turns.add_pii_counts(conn, "inf_1", "con_1", {"EMAIL": 3}, "s2")
        turns.add_pii_counts(conn, "inf_2", "con_1", {"EMAIL": 1}, "s2")
        changes, _ = turns.erase(conn, ["con_1"])
        assert changes == {"removed:EMAIL": -4.0, "removed:NAME": -1.0, "turns": 0.0}


def test_drift_checks_reports_and_triggers(store: Store) -> None:
    checks = [
        drift_checks.DriftCheck(
            id=f"chk_{n}", statistic=0.1, p_value=0.5, against="the first conversations", reference=40, current=20,
            asked=n == 2, end=conversations.Place(later(n), f"con_{n}"), report_id=None, created_at=later(n),
        )
        for n in (1, 2)
    ]  # fmt: skip
    made = [reports.Report(f"rep_{n}", "Drift", "a" * 64, {"p": 0.5}, later(n)) for n in (1, 2)]
    with store.write() as conn:
        for check, report in zip(checks, made, strict=True):
            assert drift_checks.add(conn, check)
            assert not drift_checks.add(conn, check)
            assert reports.add(conn, report)
            assert not reports.add(conn, report)
        assert drift_checks.newest(conn) == checks[::-1]
        assert drift_checks.newest(conn, 1) == checks[1:]
        assert drift_checks.last_look(conn) == checks[0]
        assert reports.newest(conn) == made[::-1]
        assert reports.find(conn, "rep_1") == made[0]
        assert reports.find(conn, "rep_9") is None
        trigger = triggers.Trigger("trg_1", "drift", "p = 0.001", None, T0)
        assert triggers.add(conn, trigger)
        assert not triggers.add(conn, trigger)
        assert triggers.newest(conn) == [trigger]
        assert triggers.waiting(conn, "drift") == trigger
        assert triggers.waiting(conn, "person") is None


def test_totals(store: Store) -> None:
    with store.write() as conn:
        counters.add(conn, {"replies:shop@v1": 2, "replies:shop@v2": 1, "turns": 6})
        counters.add(conn, {"replies:shop@v2": -1, "turns": 1, "nothing": 0})
    today = store.now().date()
    with store.read() as conn:
        assert counters.totals(conn, "replies") == counters.totals(conn, "replies", today) == {"shop@v1": 2}
        assert (counters.total(conn, "turns"), counters.total(conn, "turns", today)) == (7, 7)
        assert counters.total(conn, "turns", today - timedelta(days=1)) == 0
        assert counters.total(conn, "nothing") == 0


def test_workers_and_their_leases(store: Store) -> None:
    silent = timedelta(seconds=30)
    with store.write() as conn:
        for worker in ("one", "two"):
            workers.beat(conn, worker)
        assert workers.take(conn, "push", "one", silent)
        assert workers.take(conn, "push", "one", silent)
        assert not workers.take(conn, "push", "two", silent)
        assert (workers.holds(conn, "push", "one"), workers.holds(conn, "push", "two")) == (True, False)
        assert workers.is_alive(conn, "one", silent)
        conn.execute(sa.update(schema.workers).where(schema.workers.c.id == "one").values(beat_at=T0))
        assert not workers.is_alive(conn, "one", silent)
        assert workers.take(conn, "push", "two", silent)  # its holder is gone
        assert workers.forget_silent(conn, silent) == 1
        workers.forget(conn, "two")
        assert not workers.holds(conn, "push", "two")
        assert workers.take(conn, "push", "three", silent)


def test_the_order_of_admission(store: Store) -> None:
    traffic = conversations.customers_of("shop")
    with store.write() as conn:
        for name, kind in (("a", traffic), ("b", conversations.IMPORT), ("c", traffic), ("d", traffic)):
            assert conversations.add(conn, name, kind)
        assert not conversations.add(conn, "a", traffic)
        same = conversations.newest(conn, traffic, 1)[0].at
        conn.execute(sa.update(schema.admitted_conversations).values(admitted_at=same))  # all at one moment
        first, *_ = conversations.oldest(conn, traffic, 9)
        assert [c.id for c in conversations.oldest(conn, traffic, 9, after=first.place)] == ["c", "d"]
        assert [c.id for c in conversations.newest(conn, traffic, 2)] == ["d", "c"]
        assert conversations.newest(conn, traffic, 2, until=same - timedelta(seconds=1)) == []
        assert conversations.count_after(conn, traffic, first.place, 9) == 2
        assert conversations.count_after(conn, traffic, None, 2) == 2
        assert conversations.oldest(conn, traffic, 9, after=conversations.Place(same, None)) == []
        assert conversations.erase(conn, ["a", "b", "z"]) == 2


def test_numbers_of_arrivals_are_never_given_again(store: Store) -> None:
    """Turns are ordered by them, also after the drain has emptied the table."""
    with store.write() as conn:
        inbox.add(conn, "arr_1", "exchange", "con_1", b"")
        first = inbox.claim(conn, 1, now())[0].seq
        inbox.remove(conn, [first])
    with store.write() as conn:
        inbox.add(conn, "arr_2", "exchange", "con_1", b"")
        assert inbox.claim(conn, 1, now())[0].seq > first
