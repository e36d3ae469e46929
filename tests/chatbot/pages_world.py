"""Made-up but plausible rows for the pages' tests and screenshots, written through the store as the stages would."""

from __future__ import annotations

import hashlib
from datetime import timedelta

from shoptalk.domain import (  # fmt: skip
    Adapter,
    AdapterRef,
    Feedback,
    Inference,
    Label,
    Release,
    ReleaseState,
    Sample,
    Turn,
    Verdict,
    id_of_round,
    new_id,
)
from shoptalk.store import Store, adapters, rounds, totals, triggers
from shoptalk.store.chat import chats, inferences, releases
from shoptalk.store.ingest import conversations, feedback, quarantine, turns
from shoptalk.store.labeling import labels, samples
from shoptalk.store.monitoring import drift_checks, reports
from shoptalk.store.training import datasets, evaluations, runs
from tests.clocks import now
from tests.rows import drift_check

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{7*7}}"
P_VALUES = (0.62, 0.31, 0.84, 0.45, 0.12, 0.55, 0.2, 0.071, 0.34, 0.018, 0.0061, 0.0004, 2e-6, 0.4, 0.73)


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def fill(store: Store, *, alias: str = "shop") -> dict[str, str]:
    """A shop some rounds on: two adapters live in turn, one rejected, one pending, a round training."""
    ids = {"round": new_id("rnd"), "pending": new_id("rel"), "live": new_id("rel"), "report": new_id("rep")}
    add_conversations(store, 24, alias)
    add_learning(store, alias)
    add_releases(store, alias, ids)
    add_round(store, ids["round"])
    add_drift(store, ids["report"])
    with store.write() as conn:
        quarantine.add(conn, new_id("qua"), "exchange", None, "the second scan found PERSON", None)
        quarantine.add(conn, new_id("qua"), "exchange", None, "the second scan found PERSON, PHONE_NUMBER", None)
        quarantine.add(conn, new_id("qua"), "feedback", None, "invalid: value: not a number", None)
        totals.recount(conn)
    return ids


def add_conversations(store: Store, count: int, alias: str = "shop") -> None:
    with store.write() as conn:
        for n in range(count):
            conversation, at = f"con_{n:032x}", now() - timedelta(hours=count - n)
            chats.open_conversation(conn, chats.StoredConversation(conversation, "web", f"cus_{n:032x}"), "chat")
            made = Inference(
                id=f"inf_{n:032x}",
                conversation_id=conversation,
                alias=alias,
                adapter=f"{alias}@v{min(2, n // 8)}",
                variant="live",
                propensity=1.0,
                prompt_tokens=90,
                completion_tokens=30,
                ttft_ms=80.0,
                latency_ms=900.0,
                finish_reason="stop",
                mean_logprob=-0.4,
                created_at=at,
            )
            inferences.add(conn, made)
            question = Turn(
                id=f"trn_q{n:031x}",
                conversation_id=conversation,
                parent_id=None,
                role="user",
                text="Where is <ORDER_ID_1>?",
                at=at,
            )
            answer = Turn(
                id=f"trn_a{n:031x}",
                conversation_id=conversation,
                parent_id=question.id,
                role="assistant",
                text="On its way.",
                at=at,
                inference_id=made.id,
            )
            conversations.add(conn, conversation, conversations.customers_of(alias))
            turns.add(conn, question, 2 * n + 1, sha(question.id))
            turns.add(conn, answer, 2 * n + 2, sha(answer.id))
            counts = {"ORDER_ID": 1, "EMAIL_ADDRESS": n % 2, "PERSON": n % 3, "PHONE_NUMBER": int(n % 7 == 0)}
            turns.add_pii_counts(conn, f"arr_{n}", conversation, {k: v for k, v in counts.items() if v}, "1")
            if n % 3 == 0:
                feedback.add(
                    conn,
                    Feedback(
                        id=new_id("fbk"),
                        conversation_id=conversation,
                        inference_id=made.id,
                        metric="thumbs",
                        value=float(n % 2),
                        comment=None,
                        created_at=at,
                    ),
                )
            if n % 8 == 0:
                feedback.add(
                    conn,
                    Feedback(
                        id=new_id("fbk"),
                        conversation_id=conversation,
                        inference_id=None,
                        metric="rating",
                        value=4.0,
                        comment=None,
                        created_at=at,
                    ),
                )


def add_learning(store: Store, alias: str = "shop") -> None:
    """Samples, labels, datasets, runs, and four adapters with the gate's word on each."""
    lower = "the candidate's loss on the holdout is {} lower than {}'s (95 % CI {} to {})"
    reasons = {
        1: (Verdict.PROMOTE, (lower.format(0.81, "shop@v0", 0.66, 0.95), "no safety probe fails")),
        2: (Verdict.PROMOTE, (lower.format(0.12, "shop@v1", 0.03, 0.2),)),
        3: (Verdict.REJECT, ("2 of 40 safety probes fail: an invented refund, an invented phone number",
                             "forgetting: 3 regression examples that passed before fail now")),
        4: (Verdict.INCONCLUSIVE, ("only 21 holdout examples; the gate wants 30",)),
    }  # fmt: skip
    with store.write() as conn:
        for n in range(12):
            sample = Sample(
                id=f"smp_{n}",
                turn_id=f"trn_a{n:031x}",
                conversation_id=f"con_{n:032x}",
                round_id="rnd_old",
                inclusion_probability=0.5,
                strategy="usefulness",
                task_id=n + 1 if n < 10 else None,
            )
            samples.add(conn, sample)
            if n < 8:
                verdict = ("good", "good", "corrected", "good", "corrected", "bad", "good", "good")[n]
                labels.put(
                    conn,
                    Label(
                        id=f"lab_{n}",
                        sample_id=sample.id,
                        turn_id=sample.turn_id,
                        conversation_id=sample.conversation_id,
                        verdict=verdict,
                        reply="On its way.",
                        rating=None,
                        intent=None,
                        flags=(),
                        annotators=1,
                        agreement=None,
                        updated_at=now(),
                    ),
                )
        for version, (verdict, why) in reasons.items():
            at = now() - timedelta(hours=20 - 4 * version)
            dataset, run = f"dst_{sha(str(version))[:24]}", f"run_{sha(f'r{version}')[:32]}"
            datasets.add(conn, datasets.Dataset(dataset, sha(dataset), 40 * version, 9 * version, None, at), [])
            runs.start(conn, run, dataset, {"rank": 16}, 48)
            runs.progress(conn, run, 48, {"loss": 1.9 / version, "first_loss": 3.41})
            runs.finish(conn, run, adapter=f"{alias}@v{version}")
            ref = AdapterRef(alias, version)
            adapters.add(
                conn,
                Adapter(
                    ref=ref,
                    weights_sha256=sha(run),
                    config_sha256=sha(dataset),
                    size_bytes=9_800_000,
                    rank=16,
                    base_sha256=sha("base"),
                    dataset_id=dataset,
                    run_id=run,
                    created_at=at,
                ),
            )
            evaluations.add(
                conn,
                evaluations.Evaluation(
                    f"evl_{version}", str(ref), f"{alias}@v{max(0, version - 1)}", dataset, {}, verdict, why, at
                ),
            )  # fmt: skip


def add_releases(store: Store, alias: str, ids: dict[str, str]) -> None:
    """v1 superseded by v2, which is live; v4 pending."""
    old = new_id("rel")
    state = ReleaseState
    rows = (
        (old, 1, 0, state.SUPERSEDED, 15),
        (ids["live"], 2, 1, state.LIVE, 11),
        (ids["pending"], 4, 2, state.PENDING, 1),
    )
    with store.write() as conn:
        for id, version, before, where, hours in rows:
            at = now() - timedelta(hours=hours)
            adapter, previous = f"{alias}@v{version}", f"{alias}@v{before}"
            releases.put(
                conn,
                Release(
                    id=id,
                    alias=alias,
                    adapter=adapter,
                    previous=previous,
                    state=where,
                    evaluation_id=None,
                    actor="cli",
                    created_at=at,
                    updated_at=at,
                ),
            )
            releases.add_event(conn, id, "start", state.PENDING, "cli", f"{adapter} to follow {previous}")
            if where is not state.PENDING:
                releases.add_event(
                    conn, id, "promote", state.LIVE, "round:rnd_0123456789abcdef", "the gate said promote"
                )
        releases.add_event(conn, old, "supersede", state.SUPERSEDED, "cli", f"{alias}@v2")
        releases.set_desired(conn, alias, f"{alias}@v2", f"{alias}@v1")


def add_round(store: Store, round_id: str) -> None:
    """An open round at its training step, 31 of 48 steps done."""
    with store.write() as conn:
        triggers.add(conn, triggers.Trigger("trg_1", "drift", "messages drifted: p = 2e-06", None, now()))
        rounds.open_for(conn, "trg_1", round_id)
        rounds.set_result(conn, round_id, "sample", {"samples": 100})
        rounds.set_result(conn, round_id, "labels", {"labels": 100, "all_labels": 240})
        rounds.set_result(conn, round_id, "dataset", {"dataset": "dst_5f0c"})
        rounds.move(conn, round_id, "step", "train")
        run = id_of_round(round_id, "run")
        runs.start(conn, run, "dst_5f0c", {"rank": 16}, 48)
        runs.progress(conn, run, 31, {"loss": 0.734, "first_loss": 3.2})
        triggers.add(conn, triggers.Trigger("trg_2", "person", "asked for", None, now()))


def add_drift(store: Store, report_id: str) -> None:
    with store.write() as conn:
        reports.add(conn, reports.Report(report_id, "Drift in customers' messages", sha("report"), {}, now()))
        for n, p in enumerate(P_VALUES):
            at = now() - timedelta(minutes=len(P_VALUES) - n)
            report = report_id if p < 1e-5 else None
            drift_checks.add(conn, drift_check(f"chk_{n}", p, at, report_id=report))


def fill_with_hostile_text(store: Store) -> None:
    """`HOSTILE` wherever a row that is shown takes text."""
    text = HOSTILE
    with store.write() as conn:
        adapters.add(
            conn,
            Adapter(
                ref=AdapterRef(text, 1),
                weights_sha256=sha("w"),
                config_sha256=sha("c"),
                size_bytes=10,
                rank=16,
                base_sha256=sha("b"),
                dataset_id=f"dst_{text}",
                run_id=f"run_{text}",
                created_at=now(),
            ),
        )
        name = str(AdapterRef(text, 1))
        evaluations.add(
            conn,
            evaluations.Evaluation(
                "evl_h", name, f"against {text}", f"dst_{text}", {}, Verdict.REJECT, (f"reason {text}",), now()
            ),
        )
        datasets.add(conn, datasets.Dataset(f"dst_{text}", sha("m"), 1, 1, None, now()), [])
        runs.start(conn, f"run_{text}", f"dst_{text}", {}, 3)
        runs.progress(conn, f"run_{text}", 1, {f"metric {text}": 1.5})
        runs.finish(conn, f"run_{text}", problem=f"problem {text}")
        release = Release(
            id=f"rel_{text}",
            alias="shop",
            adapter=name,
            previous=f"before {text}",
            state=ReleaseState.LIVE,
            evaluation_id=None,
            actor=text,
            created_at=now(),
            updated_at=now(),
        )
        releases.put(conn, release)
        releases.add_event(conn, release.id, f"move {text}", ReleaseState.LIVE, f"actor {text}", f"why {text}")
        releases.set_observed(conn, f"api_{text}", f"alias {text}", f"adapter {text}", f"observed {text}")
        triggers.add(conn, triggers.Trigger("trg_h", f"kind {text}"[:16], f"trigger {text}", None, now()))
        rounds.open_for(conn, "trg_h", "rnd_h")
        rounds.set_result(conn, "rnd_h", "sample", {"samples": f"left {text}"})
        rounds.move(conn, "rnd_h", "step", f"step {text}"[:32], f"stuck {text}")
        reports.add(conn, reports.Report(f"rep_{text}", f"title {text}", sha("r"), {}, now()))
        drift_checks.add(conn, drift_check("chk_h", 1e-9, now(), report_id=f"rep_{text}", against=text[:120]))
        quarantine.add(conn, "qua_h", "exchange", None, f"quarantined {text}", None)
        turns.add_pii_counts(conn, "arr_h", "con_h", {f"TYPE {text}"[:64]: 2}, "1")
        chats.open_conversation(conn, chats.StoredConversation("con_h", "web", None), "chat")
        feedback.add(
            conn,
            Feedback(
                id="fbk_h",
                conversation_id="con_h",
                inference_id=None,
                metric=f"m {text}"[:32],
                value=1.0,
                comment=f"comment {text}",
                created_at=now(),
            ),
        )
        samples.add(
            conn,
            Sample(
                id="smp_h",
                turn_id="trn_h",
                conversation_id="con_h",
                round_id="rnd_h",
                inclusion_probability=0.5,
                strategy="usefulness",
                task_id=1,
            ),
        )
        labels.put(
            conn,
            Label(
                id="lab_h",
                sample_id="smp_h",
                turn_id="trn_h",
                conversation_id="con_h",
                verdict="<b>bad</b>",
                reply=text,
                rating=1,
                intent=text,
                flags=(),
                annotators=1,
                agreement=None,
                updated_at=now(),
            ),
        )
        totals.recount(conn)
