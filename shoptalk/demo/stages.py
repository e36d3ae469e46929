"""The demo's stages, which the running API and worker perform.

Here are the people: customers over HTTP, annotators in Label Studio, an engineer who watches. Knows neither how the
processes were started nor the summary.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any

from shoptalk.clock import MACHINE
from shoptalk.demo import helpers, swap
from shoptalk.demo.annotators import Annotators
from shoptalk.demo.conversation import Recorded
from shoptalk.demo.stage import Demo
from shoptalk.demo.traffic import Customers
from shoptalk.domain import id_of_round
from shoptalk.errors import ShoptalkError
from shoptalk.store import rounds, triggers
from shoptalk.store.chat import releases
from shoptalk.store.ingest import feature_queue, inbox
from shoptalk.store.labeling import samples
from shoptalk.store.monitoring import reports
from shoptalk.store.training import evaluations, runs

LONGEST_ROUND_S = 3600.0


def chat(demo: Demo, conversations: Sequence[Recorded], max_tokens: int, at_once: int = 8) -> None:
    """Let customers replay these conversations and rate the replies."""
    customers = Customers(demo.settings.base_url, demo.key, demo.settings.model_alias, at_once)
    with demo.bar("conversations", len(conversations)) as advance:
        customers.replay(conversations, lambda i: 2 if i % demo.plan.second_turns == 0 else 1, max_tokens, advance)
    customers.close()
    tally = customers.tally
    demo.errors += tally.errors
    mean = tally.tokens / max(1, tally.replies)
    demo.say(f"{tally.replies} replies of {mean:.0f} tokens on average, {tally.errors} errors")
    if tally.problems:
        demo.say(f"the first problem: {tally.problems[0]}")


def drained(demo: Demo) -> None:
    """Wait until the worker has admitted everything in the inbox and computed its features."""
    demo.until("the worker to admit what is in the inbox", lambda conn: inbox.count(conn) == 0)
    demo.until("features", lambda conn: not feature_queue.waiting(conn, 1))


def round_of(demo: Demo, trigger_id: str) -> str:
    """Wait for the round that the worker starts for a trigger; return its id."""

    def found(conn: Any) -> str | None:
        return next((t.round_id for t in triggers.newest(conn) if t.id == trigger_id), None)

    return str(demo.until("the worker to start a round", found))


def annotate(demo: Demo, round_id: str, label_studio: bool) -> int:
    """Let annotators answer the round's samples; return how many they answered."""

    def waiting(conn: Any) -> bool:
        _alive(conn, round_id)
        return "sample" in rounds.results(conn, round_id) and not (label_studio and samples.unpushed(conn, 1))

    demo.until("samples" + (" to reach Label Studio" if label_studio else ""), waiting)
    people = Annotators(demo.parts, demo.recorded)
    return helpers.annotate(demo.parts, people.decide, label_studio)


def learn(demo: Demo, round_id: str) -> dict[str, Any]:
    """Follow the round to its end while customers chat, one at a time; return the results of its steps."""
    stop = threading.Event()
    customers = Customers(demo.settings.base_url, demo.key, demo.settings.model_alias, at_once=1)
    slow = _paced(demo.later[: demo.plan.meanwhile], stop, 6.0)

    def go_on() -> None:
        for recorded in slow:
            customers.replay([recorded], lambda _: 1, 48, lambda _: None, stop)

    chatting = threading.Thread(target=go_on, daemon=True)
    chatting.start()
    try:
        with demo.bar("round", demo.plan.train_steps) as advance:
            deadline = MACHINE.monotonic() + LONGEST_ROUND_S
            while (state := _round_state(demo, round_id))[0] not in ("done", "failed"):
                demo.check_children()
                if MACHINE.monotonic() > deadline:
                    raise ShoptalkError(
                        f"the round took over {LONGEST_ROUND_S:.0f} s", fix=f"see {demo.settings.home / 'logs'}"
                    )
                advance(to=state[2], what=f"{state[1]}")
                MACHINE.sleep(0.5)
    finally:
        stop.set()
        chatting.join()
        customers.close()
    demo.errors += customers.tally.errors
    demo.arrived = customers.tally.conversations
    with demo.parts.store.read() as conn:
        results, last = rounds.results(conn, round_id), rounds.find(conn, round_id)
        evaluation = evaluations.newest(conn, 1)
    if evaluation:
        demo.say(f"gate: {evaluation[0].verdict.value}\n  " + "\n  ".join(evaluation[0].reasons))
    if last is None or last.state == "failed" or "release" not in results.get("release", {}):
        raise ShoptalkError(f"the round ended without a release: {last.step if last else ''} {last and last.problem}")
    adapter = results["train"]["adapter"]
    alias = demo.settings.model_alias
    demo.until(f"{adapter} to be served", lambda conn: _serves(conn, alias, adapter))
    demo.say(f"'{alias}' now answers as {adapter}; {customers.tally.replies} replies were given meanwhile")
    return results


def measure_swaps(demo: Demo) -> swap.SwapResult:
    """Measure swaps between two marked adapters under load."""
    messages = [r.opening for r in (*demo.later, *demo.recorded)]  # repeats only where there are few
    scrubbed = helpers.scrub_texts(demo.parts, messages[:64])
    marked = swap.train_marked(demo.parts, scrubbed, demo.plan.mark_steps, demo.plan.mark_batch, demo.say)
    result = swap.measure(demo.settings.base_url, demo.key, marked, messages, demo.plan.swap_requests)
    demo.say(
        f"{result.requests} requests over {result.swaps} swaps: {result.errors} errors, {result.mixed} mixed, "
        f"{result.tokens_per_reply:.0f} tokens a reply"
    )
    return result


def find_drift(demo: Demo) -> dict[str, Any]:
    """Test for drift before and after the new topic; return p-values and the path of the report."""
    drained(demo)
    watcher = demo.parts.watcher
    chat(demo, demo.later[demo.arrived : demo.arrived + watcher.missing()], demo.plan.reply_tokens)
    drained(demo)
    before = watcher.check()
    if before is None:
        raise ShoptalkError("there are too few conversations to test for drift")
    demo.say(f"before: p = {before.p_value:.3f} ({before.reference} conversations against {before.current})")
    chat(demo, demo.news, demo.plan.reply_tokens)
    drained(demo)
    after = watcher.check()
    if after is None:
        raise ShoptalkError("the new topic's conversations did not arrive")
    demo.say(f"after:  p = {after.p_value:.3f}")
    while watcher.run_once():  # the worker looks too, and each of them at windows that the other did not
        pass
    with demo.parts.store.read() as conn:
        raised = [t for t in triggers.newest(conn) if t.kind == "drift"]
        report = reports.newest(conn, 1)
    if not raised or not report:
        raise ShoptalkError("the new topic raised no trigger")
    round_id = round_of(demo, raised[0].id)
    demo.say(f"the next round, {round_id}, asks annotators about what is new")
    path = demo.settings.home / "report.html"
    path.write_bytes(demo.parts.artifacts.get(report[0].artifact_sha256))
    return {
        "before": {"p_value": before.p_value},
        "after": {"p_value": after.p_value},
        "report": str(path),
    }


def _alive(conn: Any, round_id: str) -> None:
    found = rounds.find(conn, round_id)
    if found and found.state == "failed":
        raise ShoptalkError(f"the round failed: {found.problem}")


def _round_state(demo: Demo, round_id: str) -> tuple[str, str, int]:
    """Return (state, step, training steps done)."""
    with demo.parts.store.read() as conn:
        found = rounds.find(conn, round_id)
        run = runs.find(conn, id_of_round(round_id, "run"))
    assert found is not None
    return found.state, found.step, run.step if run else 0


def _serves(conn: Any, alias: str, adapter: str) -> bool:
    return any(o.alias == alias and o.adapter == adapter for o in releases.all_observed(conn))


def _paced(conversations: Sequence[Recorded], stop: threading.Event, pause_s: float) -> Iterator[Recorded]:
    for recorded in conversations:
        if stop.wait(pause_s):
            return
        yield recorded
