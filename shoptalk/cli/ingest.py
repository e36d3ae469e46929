"""`shoptalk ingest`: imports finished conversations from files and data sets."""

from __future__ import annotations

import enum
from typing import Annotated

import typer

from shoptalk.cli.output import Json, show
from shoptalk.settings import load_settings

Mapped = Annotated[str | None, typer.Option(help="Column names: conversation_id=ticket,text=body (CSV, data sets).")]
Said = Annotated[str | None, typer.Option(help="Who is who: buyer=customer,rep=agent (CSV, data sets).")]


def add(app: typer.Typer) -> None:
    app.command()(ingest)


class Format(enum.StrEnum):
    """The format of a source; `auto` decides by its name and its first line."""

    AUTO = "auto"
    CONVERSATIONS = "conversations"
    CSV = "csv"
    OPENAI = "openai"
    DATASET = "dataset"


def ingest(
    source: Annotated[str, typer.Argument(help="A file (JSONL, CSV, OpenAI's logs; .gz too), or a data set's name.")],
    format: Annotated[Format, typer.Option(help="Its format.")] = Format.AUTO,
    columns: Mapped = None,
    roles: Said = None,
    split: Annotated[str, typer.Option(help="The split of a data set.")] = "train",
    owner: Annotated[
        str, typer.Option(help="The owner of the conversations: a client that keys were made for.")
    ] = "import",
    dry_run: Annotated[bool, typer.Option(help="Show what would happen; change nothing.")] = False,
    json: Json = False,
) -> None:
    """Import finished conversations through the scrubber; workers admit them. Run it again if it was interrupted."""
    from pathlib import PurePath

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

    from shoptalk import logs
    from shoptalk.app.files import read_source
    from shoptalk.app.parts import Parts
    from shoptalk.owners import checked

    logs.configure()
    whose = checked(owner)
    items = read_source(source, format.value, columns, roles, split)
    importer = Parts(load_settings()).importer
    bars = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*bars, console=Console(stderr=True)) as bar:
        task = bar.add_task("conversations", total=None)
        result = importer.import_conversations(
            items, dry_run, lambda n: bar.update(task, completed=n), PurePath(source).name, owner=whose
        )
    show(
        {
            "read": result.read,
            "new": result.new,
            "changed": result.changed,
            "unchanged": result.unchanged,
            "failed": result.failed,
            "to quarantine": result.failing,
            "erased before": result.erased,
            "turns": result.turns,
            "personal data removed": dict(result.pii),
            "problems": list(result.problems),
            "batch": " ".join(result.batch) if result.batch else None,
            "held because": list(result.held),
        },
        as_json=json,
    )
    if result.batch and result.batch[1] == "held":
        batch = result.batch[0]
        typer.echo(f"unlike the last ones; 'shoptalk batches release {batch}' admits it, 'refuse' deletes it", err=True)
    raise typer.Exit(1 if result.failed else 0)
