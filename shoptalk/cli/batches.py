"""`shoptalk batches`: lists imports and decides about those that are held."""

from __future__ import annotations

import typer

from shoptalk.cli.output import Json, show
from shoptalk.settings import load_settings


def add(app: typer.Typer) -> None:
    group = typer.Typer(help="List imports, and decide about those that are held.", no_args_is_help=True)
    group.command("list")(list_batches)
    group.command("show")(show_batch)
    group.command("release")(release)
    group.command("refuse")(refuse)
    app.add_typer(group, name="batches")


def list_batches(json: Json = False) -> None:
    """List imports, newest first."""
    from shoptalk.app.parts import Parts
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
    """Show a batch's report, and why it is held."""
    from shoptalk.app.parts import Parts

    batch = Parts(load_settings()).batches.find(batch_id)
    head = {"id": batch.id, "source": batch.name, "state": batch.state, "held because": list(batch.reasons)}
    show({**head, **batch.report}, as_json=json)


def release(batch_id: str) -> None:
    """Admit a held batch, or the part of an interrupted one that was read."""
    from shoptalk.app.parts import Parts

    typer.echo(f"{batch_id} is {Parts(load_settings()).batches.release(batch_id).state}")


def refuse(batch_id: str) -> None:
    """Delete the conversations of a held or interrupted batch; its report stays."""
    from shoptalk.app.parts import Parts

    typer.echo(f"{batch_id} is {Parts(load_settings()).batches.refuse(batch_id).state}")
