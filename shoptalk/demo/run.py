"""Runs the whole loop and narrates it: starts Label Studio, the API and the worker, runs the stages, sums up."""

from __future__ import annotations

import contextlib
import json
import logging
import signal
import statistics
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from shoptalk import logs
from shoptalk.app.label_studio import label_studio_server
from shoptalk.app.parts import Parts
from shoptalk.clock import MACHINE
from shoptalk.demo import stages
from shoptalk.demo.conversation import Recorded, recorded_from
from shoptalk.demo.helpers import read_conversations
from shoptalk.demo.plan import FIRST_SHARE, QUICK, Plan, settings_for
from shoptalk.demo.shop import Shop
from shoptalk.demo.stage import Demo
from shoptalk.domain import Scope
from shoptalk.errors import InvalidInput, ShoptalkError
from shoptalk.processes.supervisor import Supervisor, hand_over
from shoptalk.settings import Settings
from shoptalk.store.ingest import conversations, turns
from shoptalk.store.labeling import labels, samples
from shoptalk.store.training import evaluations
from shoptalk.terminal import printable

SEED = 11


def run_demo(
    base: Settings, data: Path | None, summary: Path | None, label_studio: bool, folder: Path | None, quick: bool
) -> None:
    """Run the demo; raise ShoptalkError where a stage does not do what it should."""
    logs.configure(level=logging.WARNING)  # the narration says what happens
    began = MACHINE.monotonic()
    signal.signal(signal.SIGTERM, _interrupt)
    console = Console()
    home = folder or base.home / "demo" / MACHINE.now().astimezone().strftime("%Y-%m-%d-%H%M%S")
    plan = QUICK if quick else Plan()
    settings, environment = settings_for(base, home, plan)
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
        result["seconds"] = {**demo.seconds, "total": round(MACHINE.monotonic() - began, 1)}
        if summary:
            summary.write_text(json.dumps(result, indent=1) + "\n")
        _finish(demo, result)
        if result["swap"]["errors"] or result["swap"]["mixed"]:
            raise ShoptalkError("some requests failed or mixed adapters", fix="see the table above")
        if sys.stdout.isatty():
            console.print("Still serving; Ctrl-C ends it.")
            with contextlib.suppress(KeyboardInterrupt):
                signal.pause()


def _recorded(console: Console, parts: Parts, data: Path, most: int, plan: Plan) -> list[Recorded]:
    """Return the file's conversations; raise InvalidInput where they are too few for the gate to decide."""
    conversations, problems = read_conversations(data)
    if problems:
        said = f"{len(problems)} lines of {data.name} are not conversations; the first: {problems[0]}"
        console.print(printable(said), markup=False)
    recorded = recorded_from(conversations, parts.settings.shop_name, SEED, most)
    if len(recorded) < plan.least_conversations:
        less = f" (--quick needs {QUICK.least_conversations})" if plan is not QUICK else ""
        raise InvalidInput(
            f"{data.name} has {len(recorded)} conversations that can be replayed; the demo needs "
            f"{plan.least_conversations}{less}",
            field="data",
        )
    return recorded


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
    with demo.stage("chat", f"{len(demo.recorded)} customers chat; personal data is removed before anything is stored"):
        stages.chat(demo, demo.recorded, demo.plan.reply_tokens)
        stages.drained(demo)
        with store.read() as conn:
            demo.say(f"removed: {_counts(turns.pii_totals(conn))}")
    with demo.stage("label", "The most useful replies go to annotators, who correct them"):
        trigger = demo.parts.requests.ask("person", "the demo asks for a first round")
        round_id = stages.round_of(demo, trigger.id)
        annotated = stages.annotate(demo, round_id, label_studio)
        demo.say(f"{annotated} replies annotated")
    with demo.stage("learn", "A LoRA adapter is trained, judged and released, while customers go on chatting"):
        outcome = stages.learn(demo, round_id)
    with demo.stage("swap", "Two adapters with unmistakable answers alternate while customers chat"):
        swapped = stages.measure_swaps(demo)
    with demo.stage("watch", "A new topic arrives; drift is found and starts the next round"):
        drift = stages.find_drift(demo)
    with store.read() as conn:
        evaluation = evaluations.find(conn, outcome["evaluate"]["evaluation"])
        assert evaluation is not None
        held = demo.parts.datasets.read(outcome["dataset"]["dataset"]).holdout
        first = sum(len(e.messages) == 2 for e in held)  # the system prompt and one message; evaluated first
        losses = {side: evaluation.evidence[side]["losses"][:first] for side in ("live", "candidate")}
        return {
            "conversations": conversations.count(conn),
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


def _finish(demo: Demo, result: dict[str, Any]) -> None:
    table = Table("what", "result", title="What happened", title_justify="left")
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
    demo.say(f"console key  {hand_over(demo.key, home)}")


def _counts(found: dict[str, int]) -> str:
    return ", ".join(f"{n} {kind}" for kind, n in sorted(found.items(), key=lambda item: -item[1])) or "nothing"


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
