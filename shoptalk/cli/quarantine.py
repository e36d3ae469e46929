"""`shoptalk quarantine`: shows, fixes, replays and deletes what was not admitted."""

from __future__ import annotations

from typing import Annotated

import typer

from shoptalk.cli.output import Json, show
from shoptalk.errors import ShoptalkError
from shoptalk.settings import load_settings
from shoptalk.terminal import printable

Reason = Annotated[str | None, typer.Option(help="Only entries whose reason begins with this.")]


def add(app: typer.Typer) -> None:
    group = typer.Typer(help="Show, fix, replay or delete what was not admitted.", no_args_is_help=True)
    group.command("list")(list_quarantine)
    group.command("show")(show_entry)
    group.command("fix")(fix)
    group.command("replay")(replay)
    group.command("drop")(drop)
    app.add_typer(group, name="quarantine")


def list_quarantine(reason: Reason = None, json: Json = False) -> None:
    """List what is in quarantine, oldest first."""
    from shoptalk.app.parts import Parts
    from shoptalk.store.ingest import quarantine

    with Parts(load_settings()).store.read() as conn:
        found = quarantine.oldest(conn, reason or "", 500)
    show([{"id": e.id, "kind": e.kind, "reason": e.reason, "since": e.created_at} for e in found], as_json=json)


def show_entry(entry_id: str, json: Json = False) -> None:
    """Show an entry, its texts scrubbed again."""
    from shoptalk.app.parts import Parts

    show(Parts(load_settings()).quarantine.show(entry_id), as_json=json)


def fix(
    entry_id: str,
    set: Annotated[list[str] | None, typer.Option(help="turns.3.role=assistant; repeat for several.")] = None,
    drop: Annotated[list[int] | None, typer.Option(help="The number of a turn to leave out.")] = None,
) -> None:
    """Correct an entry's fields; it stays in quarantine until it is replayed."""
    from shoptalk.app.parts import Parts
    from shoptalk.errors import InvalidInput

    changes = {}
    for word in set or []:
        field, equals, value = word.partition("=")
        if not equals:
            raise InvalidInput(f"'{word[:80]}' is not FIELD=VALUE", field="set")
        changes[field] = value
    left = Parts(load_settings()).quarantine.fix(entry_id, changes, drop or [])
    said = f"it fails a check still: {left[0]}" if left else f"'shoptalk quarantine replay {entry_id}' admits it"
    typer.echo(f"fixed; {printable(said)}")


def replay(
    entry_id: Annotated[str | None, typer.Argument(help="The entry's id.")] = None,
    reason: Reason = None,
    accept: Annotated[bool, typer.Option(help="Admit it although a check fails.")] = False,
) -> None:
    """Give an entry, or all with a reason, to the drain again: after a fix, or with a newer scrubber."""
    from shoptalk.app.parts import Parts
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
    """Delete an entry."""
    from shoptalk.app.parts import Parts

    Parts(load_settings()).quarantine.drop(entry_id)
    typer.echo(f"{entry_id} is deleted")
