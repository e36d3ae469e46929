"""`shoptalk round`: starts rounds of learning and shows their state."""

from __future__ import annotations

from typing import Annotated

import typer

from shoptalk.cli.output import Json, show
from shoptalk.settings import load_settings


def add(app: typer.Typer) -> None:
    group = typer.Typer(help="Start rounds of learning and show their state.", no_args_is_help=True)
    group.command("start")(start_round)
    group.command("status")(round_status)
    app.add_typer(group, name="round")


def start_round(reason: Annotated[str, typer.Option(help="For the record.")] = "asked for") -> None:
    """Ask the worker for a round of learning."""
    from shoptalk.app.parts import Parts

    typer.echo(f"trigger {Parts(load_settings()).watcher.trigger('person', reason).id}; the worker starts the round")


def round_status(json: Json = False) -> None:
    """List the latest rounds and the steps they are at."""
    from shoptalk.app.parts import Parts
    from shoptalk.store import rounds

    with Parts(load_settings()).store.read() as conn:
        found = rounds.newest(conn, 20)
    rows = [{"id": r.id, "state": r.state, "step": r.step, "problem": r.problem, "since": r.created_at} for r in found]
    show(rows, as_json=json)
