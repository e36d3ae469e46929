"""monitor report, drift; round start."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shoptalk.commands.output import Json, show
from shoptalk.settings import load_settings


def add(app: typer.Typer) -> None:
    group = typer.Typer(help="Drift and reports.", no_args_is_help=True)
    group.command()(report)
    group.command()(drift)
    app.add_typer(group, name="monitor")
    rounds = typer.Typer(help="Rounds of learning.", no_args_is_help=True)
    rounds.command("start")(start_round)
    rounds.command("status")(round_status)
    app.add_typer(rounds, name="round")


def report(output: Annotated[Path | None, typer.Option(help="Also write the HTML there.")] = None) -> None:
    """Write an Evidently report comparing the current window with the reference."""
    from shoptalk.app.compose import Parts

    parts = Parts(load_settings())
    written = parts.watcher.report()
    if output:
        output.write_bytes(parts.artifacts.get(written.artifact_sha256))
    typer.echo(f"{written.id}: {output or parts.artifacts.path_of(written.artifact_sha256)}")


def drift(json: Json = False) -> None:
    """Test for drift now, without starting anything."""
    from shoptalk.app.compose import Parts

    check = Parts(load_settings()).watcher.check()
    if check is None:
        typer.echo("not enough conversations yet")
        raise typer.Exit(1)
    figures = {
        "p_value": check.p_value,
        "statistic": check.statistic,
        "reference": check.reference,
        "current": check.current,
    }
    show(figures, as_json=json)


def start_round(reason: Annotated[str, typer.Option(help="For the record.")] = "asked for") -> None:
    """Ask the worker for a round of learning."""
    from shoptalk.app.compose import Parts

    typer.echo(f"trigger {Parts(load_settings()).watcher.trigger('person', reason).id}; the worker starts the round")


def round_status(json: Json = False) -> None:
    """The latest rounds and how far they are."""
    from shoptalk.app.compose import Parts
    from shoptalk.store import rounds

    with Parts(load_settings()).store.read() as conn:
        found = rounds.newest(conn, 20)
    rows = [{"id": r.id, "state": r.state, "step": r.step, "problem": r.problem, "since": r.created_at} for r in found]
    show(rows, as_json=json)
