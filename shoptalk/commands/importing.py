"""ingest, batches, quarantine."""

from __future__ import annotations

import enum
from typing import Annotated

import typer

from shoptalk.commands.output import Json, show
from shoptalk.settings import load_settings
from shoptalk.terminal import printable


def add(app: typer.Typer) -> None:
    app.command()(ingest)
    batches = typer.Typer(help="Imports: what each brought, and those held for a person.", no_args_is_help=True)
    batches.command("list")(list_batches)
    batches.command("show")(show_batch)
    batches.command("release")(release)
    batches.command("refuse")(refuse)
    app.add_typer(batches, name="batches")
    quarantine = typer.Typer(help="What was not admitted, and why.", no_args_is_help=True)
    for command, name in (
        (list_quarantine, "list"),
        (show_entry, "show"),
        (mend, "mend"),
        (replay, "replay"),
        (drop, "drop"),
    ):
        quarantine.command(name)(command)
    app.add_typer(quarantine, name="quarantine")


class Format(enum.StrEnum):
    """What a source holds; `auto` looks at its name and its first line."""

    AUTO = "auto"
    CONVERSATIONS = "conversations"
    CSV = "csv"
    OPENAI = "openai"
    DATASET = "dataset"


Mapped = Annotated[str | None, typer.Option(help="Column names: conversation_id=ticket,text=body (CSV, data sets).")]
Said = Annotated[str | None, typer.Option(help="Who is who: buyer=customer,rep=agent (CSV, data sets).")]


def ingest(
    source: Annotated[str, typer.Argument(help="A file (JSONL, CSV, OpenAI's logs; .gz too), or a data set's name.")],
    format: Annotated[Format, typer.Option(help="What it holds.")] = Format.AUTO,
    columns: Mapped = None,
    roles: Said = None,
    split: Annotated[str, typer.Option(help="Of a data set.")] = "train",
    owner: Annotated[
        str, typer.Option(help="Whose the conversations are: a client that keys were made for.")
    ] = "import",
    dry_run: Annotated[bool, typer.Option(help="Say what would happen; change nothing.")] = False,
    json: Json = False,
) -> None:
    """Import finished conversations through the scrubber; workers admit them. Interrupted, run it again."""
    from pathlib import PurePath

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

    from shoptalk import logs
    from shoptalk.app.compose import Parts, read_source
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


def list_batches(json: Json = False) -> None:
    """Imports, newest first."""
    from shoptalk.app.compose import Parts
    from shoptalk.store.ingest import imports

    with Parts(load_settings()).store.read() as conn:
        found = imports.newest(conn)
    rows = [
        {"id": b.id, "source": b.name, "state": b.state, "conversations": b.report.get("conversations", 0),
         "failing": b.report.get("failing", 0), "began": b.created_at}
        for b in found
    ]  # fmt: skip
    show(rows, as_json=json)


def show_batch(batch_id: str, json: Json = False) -> None:
    """A batch's report, and why it is held."""
    from shoptalk.app.compose import Parts

    batch = Parts(load_settings()).batches.find(batch_id)
    head = {"id": batch.id, "source": batch.name, "state": batch.state, "held because": list(batch.reasons)}
    show({**head, **batch.report}, as_json=json)


def release(batch_id: str) -> None:
    """Admit a held batch, or what was read of an interrupted one."""
    from shoptalk.app.compose import Parts

    typer.echo(f"{batch_id} is {Parts(load_settings()).batches.release(batch_id).state}")


def refuse(batch_id: str) -> None:
    """Delete a held or interrupted batch's conversations; its report stays."""
    from shoptalk.app.compose import Parts

    typer.echo(f"{batch_id} is {Parts(load_settings()).batches.refuse(batch_id).state}")


Reason = Annotated[str | None, typer.Option(help="Only those whose reason begins so.")]


def list_quarantine(reason: Reason = None, json: Json = False) -> None:
    """What is in quarantine, oldest first."""
    from shoptalk.app.compose import Parts
    from shoptalk.store.ingest import quarantine

    with Parts(load_settings()).store.read() as conn:
        found = quarantine.oldest(conn, reason or "", 500)
    show([{"id": e.id, "kind": e.kind, "reason": e.reason, "since": e.created_at} for e in found], as_json=json)


def show_entry(entry_id: str, json: Json = False) -> None:
    """One entry, its texts scrubbed once more."""
    from shoptalk.app.compose import Parts

    show(Parts(load_settings()).quarantine.show(entry_id), as_json=json)


def mend(
    entry_id: str,
    set: Annotated[list[str] | None, typer.Option(help="turns.3.role=assistant; repeat for several.")] = None,
    drop: Annotated[list[int] | None, typer.Option(help="The number of a turn to leave out.")] = None,
) -> None:
    """Correct an entry's fields; it stays in quarantine until it is replayed."""
    from shoptalk.app.compose import Parts
    from shoptalk.errors import InvalidInput

    changes = {}
    for word in set or []:
        field, equals, value = word.partition("=")
        if not equals:
            raise InvalidInput(f"'{word[:80]}' is not FIELD=VALUE", field="set")
        changes[field] = value
    left = Parts(load_settings()).quarantine.mend(entry_id, changes, drop or [])
    said = f"it fails a check still: {left[0]}" if left else f"'shoptalk quarantine replay {entry_id}' admits it"
    typer.echo(f"mended; {printable(said)}")


def replay(
    entry_id: Annotated[str | None, typer.Argument(help="One entry.")] = None,
    reason: Reason = None,
    accept: Annotated[bool, typer.Option(help="Although a check fails.")] = False,
) -> None:
    """Hand an entry, or all with a reason, to the drain once more: after a mend, or with a newer scrubber."""
    from shoptalk.app.compose import Parts
    from shoptalk.errors import ShoptalkError
    from shoptalk.store.ingest import quarantine

    if (entry_id is None) == (reason is None):
        raise typer.BadParameter("name one entry, or a --reason")
    parts = Parts(load_settings())
    ids = [entry_id] if entry_id else []
    if reason is not None:
        with parts.store.read() as conn:
            ids = [entry.id for entry in quarantine.oldest(conn, reason, 10_000)]
    done = 0
    for each in ids:
        try:
            parts.quarantine.replay(each, accept)
            done += 1
        except ShoptalkError as error:
            typer.echo(printable(f"{each}: {error.message}"), err=True)
    typer.echo(f"{done} of {len(ids)} replayed")
    raise typer.Exit(0 if done == len(ids) else 1)


def drop(entry_id: str) -> None:
    """Delete an entry for good."""
    from shoptalk.app.compose import Parts

    Parts(load_settings()).quarantine.drop(entry_id)
    typer.echo(f"{entry_id} is deleted")
