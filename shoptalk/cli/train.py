"""`shoptalk train`: fine-tunes an adapter on a dataset."""

from __future__ import annotations

from typing import Annotated

import typer

from shoptalk.domain import new_id
from shoptalk.settings import load_settings


def add(app: typer.Typer) -> None:
    app.command()(train)


def train(
    dataset: Annotated[str | None, typer.Option(help="A frozen dataset; default: freeze the labels now.")] = None,
) -> None:
    """Freeze the labels and fine-tune an adapter, in a process of its own."""
    from rich.console import Console
    from rich.progress import Progress

    from shoptalk import logs
    from shoptalk.app.parts import Parts
    from shoptalk.app.rounds import recipe

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
