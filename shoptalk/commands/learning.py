"""train, evaluate, gate: single steps of a round, by hand."""

from __future__ import annotations

from typing import Annotated

import typer

from shoptalk.commands.output import Json, show
from shoptalk.domain import AdapterRef, new_id
from shoptalk.settings import load_settings


def add(app: typer.Typer) -> None:
    for command in (train, evaluate, gate):
        app.command()(command)


def train(
    dataset: Annotated[str | None, typer.Option(help="A frozen dataset; default: freeze the labels now.")] = None,
) -> None:
    """Freeze the labels and fine-tune an adapter, in a process of its own."""
    from rich.console import Console
    from rich.progress import Progress

    from shoptalk import logs
    from shoptalk.app.compose import Parts, recipe

    logs.configure()
    settings = load_settings()
    parts = Parts(settings)
    dataset_id = dataset or parts.datasets.freeze().id
    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("training", total=settings.train_steps)

        def on_step(step: int, steps: int, loss: float) -> None:
            bar.update(task, completed=step, total=steps, description=f"training, loss {loss:.3f}")

        adapter = parts.trainer.train(new_id("run"), dataset_id, recipe(settings), on_step)
    typer.echo(f"{adapter.ref} from {dataset_id}; next: shoptalk evaluate {adapter.ref}")


def evaluate(adapter: str, json: Json = False) -> None:
    """Compare an adapter with the live one on the holdout, and let the gate judge."""
    from rich.console import Console
    from rich.progress import Progress

    from shoptalk import logs
    from shoptalk.app.compose import Parts, StageWork
    from shoptalk.errors import InvalidInput

    logs.configure()
    parts = Parts(load_settings())
    found = parts.registry.find(_ref(adapter))
    if found.dataset_id is None:
        raise InvalidInput(f"{adapter} has no dataset, so there is no holdout to judge it on", field="adapter")
    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("evaluating")

        def progress(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total)

        evaluation_id = new_id("evl")
        StageWork(parts, progress=progress).evaluate(evaluation_id, adapter, found.dataset_id)
    _show_verdict(parts, adapter, json)


def gate(adapter: str, json: Json = False) -> None:
    """The gate's verdict on an adapter, judged again from the recorded evidence."""
    from shoptalk.app.compose import Parts

    _show_verdict(Parts(load_settings()), adapter, json)


def _show_verdict(parts: object, adapter: str, as_json: bool) -> None:
    from shoptalk.app.compose import Parts, judge_again
    from shoptalk.errors import NotFound
    from shoptalk.store.training import evaluations

    assert isinstance(parts, Parts)
    with parts.store.read() as conn:
        record = evaluations.newest_of(conn, str(_ref(adapter)))
    if record is None:
        raise NotFound(f"{adapter} was never evaluated; run 'shoptalk evaluate {adapter}'")
    again = judge_again(parts, record)
    show(
        {
            "adapter": record.adapter,
            "against": record.against,
            "verdict": record.verdict.value,
            "reasons": list(record.reasons),
            "judged again": again.verdict.value,
            "figures": dict(record.evidence["figures"]),
            "evaluation": record.id,
            "dataset": record.dataset_id,
        },
        as_json=as_json,
    )


def _ref(text: str) -> AdapterRef:
    from shoptalk.errors import InvalidInput

    try:
        return AdapterRef.parse(text)
    except ValueError as error:
        raise InvalidInput(str(error), field="adapter") from None
