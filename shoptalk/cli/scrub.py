"""`shoptalk scrub`: removes personal data from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shoptalk.cli.output import Json, show
from shoptalk.settings import load_settings


def add(app: typer.Typer) -> None:
    app.command()(scrub)


def scrub(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="Conversations or texts, JSONL or .gz.")],
    output: Annotated[Path, typer.Option(help="The scrubbed file; .gz is compressed.")],
    spans: Annotated[
        bool, typer.Option("--spans", help="Add the type and span of each value found, never the value.")
    ] = False,
    json: Json = False,
) -> None:
    """Remove personal data from a file, in the same way as from conversations."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TimeElapsedColumn

    from shoptalk.app.files import scrub_file

    settings = load_settings()
    columns = (SpinnerColumn(), "{task.description} {task.completed}", TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("lines", total=None)
        result = scrub_file(settings, file, output, spans, lambda n: bar.update(task, completed=n))
    show(
        {
            "lines": result.lines,
            "texts": result.texts,
            "personal data removed": dict(sorted(result.pii.items())),
            "not scanned, and left out": result.problems,
        },
        as_json=json,
    )
    raise typer.Exit(1 if result.problems else 0)
