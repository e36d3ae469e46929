"""`shoptalk evaluate`: evaluates an adapter on the holdout and shows the gate's verdict."""

from __future__ import annotations

import typer

from shoptalk.cli.output import Json
from shoptalk.cli.verdicts import adapter_ref, show_verdict
from shoptalk.domain import new_id
from shoptalk.settings import load_settings


def add(app: typer.Typer) -> None:
    app.command()(evaluate)


def evaluate(adapter: str, json: Json = False) -> None:
    """Compare an adapter with the live one on the holdout, and show the gate's verdict."""
    from rich.console import Console
    from rich.progress import Progress

    from shoptalk import logs
    from shoptalk.app.parts import Parts
    from shoptalk.app.rounds import StageWork
    from shoptalk.errors import InvalidInput

    logs.configure()
    parts = Parts(load_settings())
    found = parts.registry.find(adapter_ref(adapter))
    if found.dataset_id is None:
        raise InvalidInput(f"{adapter} has no dataset, so there is no holdout to judge it on", field="adapter")
    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("evaluating")

        def progress(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total)

        evaluation_id = new_id("evl")
        StageWork(parts, on_progress=progress).evaluate(evaluation_id, adapter, found.dataset_id)
    show_verdict(parts, adapter, json)
