"""The whole loop, narrated: each stage happens for real in the API and worker this starts; the demo only plays
the people: customers over HTTP, annotators in Label Studio, an engineer who watches.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import signal
import socket
import statistics
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from shoptalk import logs
from shoptalk.compose import Parts, label_studio_server
from shoptalk.demo import swap
from shoptalk.demo.annotators import Annotators
from shoptalk.demo.conversation import Recorded, recorded_from
from shoptalk.demo.shop import Shop
from shoptalk.demo.traffic import Customers
from shoptalk.domain import Scope
from shoptalk.errors import InvalidInput, ShoptalkError
from shoptalk.settings import Settings, load_settings
from shoptalk.store import arrivals, chats, evaluations, labels, releases, rounds, runs, samples, turns, watch
from shoptalk.supervise import Supervisor

SEED = 11
LONGEST_ROUND_S = 3600.0
FIRST_SHARE = 0.75  # of a small file's conversations come before the first round


@dataclass(frozen=True, slots=True)
class Plan:
    """How much of everything; `QUICK` shows the same in a fraction of the time, with less proof."""

    chats: int = 440  # conversations before the first round
    second_turns: int = 12  # every so many-th of them goes on for a second exchange
    meanwhile: int = 150  # conversations that may arrive while the round trains
    window: int = 150  # conversations in a drift window
    new_topic: int = 110  # conversations of the new topic
    swap_requests: int = 240
    reply_tokens: int = 44
    train_steps: int = 34
    mark_steps: int = 30
    holdout_share: float = 0.3
    least_examples: int = 50

    @property
    def least_conversations(self) -> int:
        """So many that enough are held out, should a tenth of the labels turn out useless."""
        return math.ceil(1.1 * self.least_examples / self.holdout_share / FIRST_SHARE)


QUICK = Plan(
    chats=120, meanwhile=50, window=40, new_topic=36, swap_requests=40, reply_tokens=40, train_steps=30,
    mark_steps=24, least_examples=30,
)  # fmt: skip


@dataclass(slots=True)
class Demo:
    """One run's state: what the summary is made of."""

    settings: Settings
    parts: Parts
    key: str
    console: Console
    recorded: Sequence[Recorded]
    later: Sequence[Recorded]
    news: Sequence[Recorded]
    plan: Plan
    seconds: dict[str, float] = field(default_factory=dict)
    errors: int = 0
    supervisor: Supervisor | None = None

    def check_children(self) -> None:
        """Raise where the API or the worker died."""
        if self.supervisor is not None:
            self.supervisor.check()

    @contextlib.contextmanager
    def stage(self, name: str, title: str) -> Iterator[None]:
        """Narrate and time a stage."""
        self.console.rule(f"[bold]{title}", align="left")
        began = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - began, 1)

    def say(self, text: str) -> None:
        self.console.print(text, highlight=False)

    @contextlib.contextmanager
    def bar(self, title: str, total: int) -> Iterator[Any]:
        """A progress bar on a terminal, a line every quarter elsewhere; call it with how many more are done."""
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self.console, disable=not self.console.is_terminal) as progress:
            task = progress.add_task(title, total=total)
            told = 0

            def advance(n: int = 1, *, to: int | None = None, what: str = title) -> None:
                nonlocal told
                done = int(progress.tasks[0].completed) + n if to is None else to
                progress.update(task, completed=done, description=what)
                if not self.console.is_terminal and done * 4 // total > told:
                    told = done * 4 // total
                    self.say(f"{what}: {done} of {total}")

            yield advance


def run_demo(
    base: Settings, data: Path | None, summary: Path | None, label_studio: bool, folder: Path | None, quick: bool
) -> None:
    """Run the demo; raises ShoptalkError where a stage does not do what it should."""
    logs.configure(level=logging.WARNING)  # the narration says what happens
    began = time.monotonic()
    signal.signal(signal.SIGTERM, _interrupt)
    console = Console()
    home = folder or base.home / "demo" / datetime.now().strftime("%Y-%m-%d-%H%M%S")
    plan = QUICK if quick else Plan()
    settings, environment = _settings(base, home, plan)
    shop = Shop()
    everyday = plan.chats + plan.meanwhile + 40
    parts = Parts(settings)
    recorded = _recorded(console, parts, data, everyday, plan) if data else shop.everyday(everyday)
    first = min(plan.chats, int(len(recorded) * FIRST_SHARE))
    _, key = parts.new_key("demo", [Scope.ADMIN])
    demo = Demo(settings, parts, key, console, recorded[:first], recorded[first:], shop.workshops(plan.new_topic), plan)
    console.print(f"[bold]shoptalk demo[/bold]: everything of this run is kept in {home}")
    with contextlib.ExitStack() as running:
        with demo.stage("start", "Starting" + (" Label Studio," if label_studio else "") + " the API and the worker"):
            _start(demo, running, environment, label_studio)
        result = _perform(demo, label_studio)
        result["seconds"] = {**demo.seconds, "total": round(time.monotonic() - began, 1)}
        if summary:
            summary.write_text(json.dumps(result, indent=1) + "\n")
        _finish(demo, result)
        if result["swap"]["errors"] or result["swap"]["mixed"]:
            raise ShoptalkError("some requests failed or mixed adapters; see the table above")
        if sys.stdout.isatty():
            console.print("Still serving; Ctrl-C ends it.")
            with contextlib.suppress(KeyboardInterrupt):
                signal.pause()


def _recorded(console: Console, parts: Parts, data: Path, most: int, plan: Plan) -> list[Recorded]:
    """The file's conversations; raises InvalidInput where these are too few for the gate to decide anything."""
    conversations, problems = parts.read_conversations(data)
    if problems:
        console.print(f"{len(problems)} lines of {data.name} are no conversations; the first: {problems[0]}")
    recorded = recorded_from(conversations, parts.settings.shop_name, SEED, most)
    if len(recorded) < plan.least_conversations:
        less = f" (--quick needs {QUICK.least_conversations})" if plan is not QUICK else ""
        raise InvalidInput(
            f"{data.name} has {len(recorded)} conversations that can be replayed; the demo needs "
            f"{plan.least_conversations}{less}",
            field="data",
        )
    return recorded


def _settings(base: Settings, home: Path, plan: Plan) -> tuple[Settings, dict[str, str]]:
    """This run's settings, and the same as environment for the processes it starts."""
    values: dict[str, Any] = {
        "home": home,
        "models": base.models_path,
        "database_url": f"sqlite:///{home.absolute() / 'shoptalk.db'}",
        "jobs_database_url": f"sqlite:///{home.absolute() / 'jobs.db'}",
        "artifacts_url": str(home.absolute() / "artifacts"),
        "host": "127.0.0.1",
        "port": (port := _free_port(base.port)),
        "api_url": f"http://127.0.0.1:{port}",
        "engine": "embedded",
        "auto_promote": True,
        "label_studio_url": f"http://127.0.0.1:{_free_port(8081)}",
        "sample_size": plan.chats + plan.chats // plan.second_turns + 1,
        "labels_wanted": int(0.9 * plan.chats),
        "holdout_share": plan.holdout_share,
        "train_steps": plan.train_steps,
        "drift_window": plan.window,
        "drift_check_s": 1e6,  # the demo asks for the checks, so that both show
        "gate_min_examples": plan.least_examples,
        "max_queue": 128,
    }
    environment = {f"SHOPTALK_{k.upper()}": str(v) for k, v in values.items()}
    os.environ.pop("SHOPTALK_LABEL_STUDIO_TOKEN", None)  # the demo's Label Studio has a token of its own
    return load_settings(**values), environment


def _start(demo: Demo, running: contextlib.ExitStack, environment: dict[str, str], label_studio: bool) -> None:
    if label_studio:
        server = running.enter_context(label_studio_server(demo.settings))
        demo.say(f"Label Studio runs at {server.url}")
    supervisor = running.enter_context(Supervisor(demo.settings, environment, demo.settings.home / "logs"))
    supervisor.start("serve")
    supervisor.start("worker")
    supervisor.wait_ready()
    demo.supervisor = supervisor
    demo.say(f"the API runs at {demo.settings.base_url}; the base model answers as '{demo.parts.served()}'")


def _perform(demo: Demo, label_studio: bool) -> dict[str, Any]:
    store = demo.parts.store
    with demo.stage("chat", f"{len(demo.recorded)} customers chat; personal data is removed on arrival"):
        _chat(demo, demo.recorded, demo.plan.reply_tokens)
        _drained(demo)
        with store.read() as conn:
            demo.say(f"removed: {_counts(turns.pii_totals(conn))}")
    with demo.stage("label", "The most useful replies go to annotators, who correct them"):
        trigger = demo.parts.watcher.trigger("person", "the demo asks for a first round")
        round_id = _round_of(demo, trigger.id)
        annotated = _annotate(demo, round_id, label_studio)
        demo.say(f"{annotated} replies annotated")
    with demo.stage("learn", "A LoRA adapter is trained, judged and released, while customers go on chatting"):
        outcome = _learn(demo, round_id)
    with demo.stage("swap", "Two adapters with unmistakable answers alternate while customers chat"):
        swapped = _swap(demo)
    with demo.stage("watch", "A new topic arrives; drift is found and starts the next round"):
        drift = _watch(demo)
    with store.read() as conn:
        evaluation = evaluations.find(conn, outcome["evaluate"]["evaluation"])
        assert evaluation is not None
        held = demo.parts.datasets.read(outcome["dataset"]["dataset"]).holdout
        first = sum(len(e.messages) == 2 for e in held)  # the system prompt and one message; evaluated first
        losses = {side: evaluation.evidence[side]["losses"][:first] for side in ("live", "candidate")}
        return {
            "conversations": chats.count(conn),
            "turns_stored": turns.count(conn),
            "pii_removed": turns.pii_totals(conn),
            "tasks_pushed": samples.count(conn, pushed=True),
            "annotations_pulled": labels.count_annotations(conn),
            "dataset_id": outcome["dataset"]["dataset"],
            "adapter": outcome["train"]["adapter"],
            "holdout": {
                "conversations": len(losses["candidate"]),
                "loss_base": round(statistics.fmean(losses["live"]), 4),
                "loss_candidate": round(statistics.fmean(losses["candidate"]), 4),
            },
            "gate": {"verdict": evaluation.verdict.value, "reasons": list(evaluation.reasons)},
            "swap": {"requests": swapped.requests, "errors": swapped.errors + demo.errors, "mixed": swapped.mixed},
            "drift": drift,
        }


def _chat(demo: Demo, conversations: Sequence[Recorded], max_tokens: int, at_once: int = 8) -> None:
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


def _drained(demo: Demo) -> None:
    """Until the worker admitted everything that arrived and computed its features."""
    _until(demo, "the worker to admit what arrived", lambda conn: arrivals.count(conn) == 0)
    _until(demo, "features", lambda conn: not turns.without_features(conn, demo.parts.feature_version, 1))


def _round_of(demo: Demo, trigger_id: str) -> str:
    def found(conn: Any) -> str | None:
        return next((t.round_id for t in watch.all_triggers(conn) if t.id == trigger_id), None)

    return str(_until(demo, "the worker to start a round", found))


def _annotate(demo: Demo, round_id: str, label_studio: bool) -> int:
    def waiting(conn: Any) -> bool:
        _alive(conn, round_id)
        return "sample" in rounds.results(conn, round_id) and not (label_studio and samples.unpushed(conn, 1))

    _until(demo, "samples" + (" to reach Label Studio" if label_studio else ""), waiting)
    people = Annotators(demo.parts, demo.recorded)
    return demo.parts.annotate(people.decide, label_studio)


def _learn(demo: Demo, round_id: str) -> dict[str, Any]:
    """Follow the round to its end; customers chat meanwhile, one at a time."""
    stop = threading.Event()
    customers = Customers(demo.settings.base_url, demo.key, demo.settings.model_alias, at_once=1)
    slow = _paced(demo.later[: demo.plan.meanwhile], stop, 6.0)

    def chat() -> None:
        for recorded in slow:
            customers.replay([recorded], lambda _: 1, 48, lambda _: None, stop)

    chatting = threading.Thread(target=chat, daemon=True)
    chatting.start()
    try:
        with demo.bar("round", demo.settings.train_steps) as advance:
            deadline = time.monotonic() + LONGEST_ROUND_S
            while (state := _round_state(demo, round_id))[0] not in ("done", "failed"):
                demo.check_children()
                if time.monotonic() > deadline:
                    raise ShoptalkError(
                        f"the round took over {LONGEST_ROUND_S:.0f} s; see {demo.settings.home / 'logs'}"
                    )
                advance(to=state[2], what=f"{state[1]}")
                time.sleep(0.5)
    finally:
        stop.set()
        chatting.join()
        customers.close()
    demo.errors += customers.tally.errors
    with demo.parts.store.read() as conn:
        results, last = rounds.results(conn, round_id), rounds.find(conn, round_id)
        evaluation = evaluations.newest(conn, 1)
    if evaluation:
        demo.say(f"gate: {evaluation[0].verdict.value}\n  " + "\n  ".join(evaluation[0].reasons))
    if last is None or last.state == "failed" or "release" not in results.get("release", {}):
        raise ShoptalkError(f"the round ended without a release: {last.step if last else ''} {last and last.problem}")
    adapter = results["train"]["adapter"]
    alias = demo.settings.model_alias
    _until(demo, f"{adapter} to be served", lambda conn: _serves(conn, alias, adapter))
    demo.say(f"'{alias}' now answers as {adapter}; {customers.tally.replies} replies were given meanwhile")
    return results


def _swap(demo: Demo) -> swap.SwapResult:
    messages = [r.opening for r in (*demo.later, *demo.recorded)]  # repeats only where there are few
    scrubbed = demo.parts.scrub_texts(messages[:64])
    marked = swap.train_marked(demo.parts, scrubbed, demo.plan.mark_steps, demo.say)
    result = swap.measure(demo.settings.base_url, demo.key, marked, messages, demo.plan.swap_requests)
    demo.say(
        f"{result.requests} requests over {result.swaps} swaps: {result.errors} errors, {result.mixed} mixed, "
        f"{result.tokens_per_reply:.0f} tokens a reply"
    )
    return result


def _watch(demo: Demo) -> dict[str, Any]:
    """Check before and after the new topic, then let the worker's own rule decide."""
    _drained(demo)
    watcher = demo.parts.watcher
    before = watcher.check()
    if before is None:
        raise ShoptalkError("there are too few conversations to test for drift")
    demo.say(f"before: p = {before.p_value:.3f} ({before.reference} conversations against {before.current})")
    _chat(demo, demo.news, 40)
    _drained(demo)
    after = watcher.run_once()
    if after is None:
        raise ShoptalkError("the new topic's conversations did not arrive")
    demo.say(f"after:  p = {after.p_value:.3f}")
    with demo.parts.store.read() as conn:
        raised = [t for t in watch.all_triggers(conn) if t.kind == "drift"]
        report = watch.all_reports(conn, 1)
    if not raised or not report:
        raise ShoptalkError("the new topic raised no trigger")
    round_id = _round_of(demo, raised[0].id)
    demo.say(f"the next round, {round_id}, asks annotators about what is new")
    path = demo.settings.home / "report.html"
    path.write_bytes(demo.parts.artifacts.get(report[0].artifact_sha256))
    return {
        "before": {"p_value": before.p_value},
        "after": {"p_value": after.p_value},
        "report": str(path),
    }


def _finish(demo: Demo, result: dict[str, Any]) -> None:
    table = Table("what", "figure", title="What happened", title_justify="left")
    holdout, swapped, drift = result["holdout"], result["swap"], result["drift"]
    rows = {
        "conversations, turns stored": f"{result['conversations']}, {result['turns_stored']}",
        "personal data removed": _counts(result["pii_removed"]),
        "tasks pushed, annotations pulled": f"{result['tasks_pushed']}, {result['annotations_pulled']}",
        f"loss on {holdout['conversations']} held-out replies": (
            f"{holdout['loss_base']} with the base model, {holdout['loss_candidate']} with {result['adapter']}"
        ),
        "gate": result["gate"]["verdict"],
        "swaps under load": "{requests} requests, {errors} errors, {mixed} mixed".format(**swapped),
        "drift p-value": f"{drift['before']['p_value']:.3f}, after the new topic {drift['after']['p_value']:.3f}",
        "time": ", ".join(f"{k} {v:.0f} s" for k, v in result["seconds"].items()),
    }
    for row in rows.items():
        table.add_row(*row)
    demo.console.print(table)
    url, home = demo.settings.base_url, demo.settings.home
    demo.say(f"chat page  {url}/\nconsole    {url}/console\nreport     {drift['report']}")
    models = demo.settings.models_path.absolute()
    program = Path(sys.executable).with_name("shoptalk")
    demo.say(f"come back  SHOPTALK_HOME={home.absolute()} SHOPTALK_MODELS={models} {program} up")
    demo.say(f"console key (shown this once)  {demo.key}")


def _until(demo: Demo, what: str, test: Any, timeout_s: float = 300.0) -> Any:
    """Poll the store until `test(conn)` is true; returns what it returned."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        demo.check_children()
        with demo.parts.store.read() as conn:
            if value := test(conn):
                return value
        time.sleep(0.2)
    raise ShoptalkError(f"waited {timeout_s:.0f} s in vain for {what}; see {demo.settings.home / 'logs'}")


def _alive(conn: Any, round_id: str) -> None:
    found = rounds.find(conn, round_id)
    if found and found.state == "failed":
        raise ShoptalkError(f"the round failed: {found.problem}")


def _round_state(demo: Demo, round_id: str) -> tuple[str, str, int]:
    """(state, step, training steps done)."""
    with demo.parts.store.read() as conn:
        found = rounds.find(conn, round_id)
        run = runs.find(conn, round_id.replace("rnd_", "run_", 1))
    assert found is not None
    return found.state, found.step, run.step if run else 0


def _serves(conn: Any, alias: str, adapter: str) -> bool:
    return any(o.alias == alias and o.adapter == adapter for o in releases.all_observed(conn))


def _paced(conversations: Sequence[Recorded], stop: threading.Event, pause_s: float) -> Iterator[Recorded]:
    for recorded in conversations:
        if stop.wait(pause_s):
            return
        yield recorded


def _counts(found: dict[str, int]) -> str:
    return ", ".join(f"{n} {kind}" for kind, n in sorted(found.items(), key=lambda item: -item[1])) or "nothing"


def _free_port(wanted: int) -> int:
    """The port wanted, else any free one."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise ShoptalkError("no free port on 127.0.0.1")


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
