"""`shoptalk round`: starts rounds of learning, shows them, and cancels them or lets them learn."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from shoptalk.cli.output import Json, show
from shoptalk.settings import load_settings

Id = Annotated[str, typer.Argument(help="The round's id.")]


def add(app: typer.Typer) -> None:
    group = typer.Typer(help="Start rounds of learning, show and end them.", no_args_is_help=True)
    group.command("start")(start_round)
    group.command("list")(list_rounds)
    group.command("show")(show_round)
    group.command("cancel")(cancel_round)
    group.command("learn-now")(learn_now)
    app.add_typer(group, name="round")


def start_round(reason: Annotated[str, typer.Option(help="For the record.")] = "asked for") -> None:
    """Ask the worker for a round; where one waits for labels, the request joins it."""
    typer.echo(f"trigger {_control().start(reason).id}; the worker starts the round")


def list_rounds(json: Json = False) -> None:
    """List the latest rounds and the steps they are at."""
    from shoptalk.app.parts import Parts
    from shoptalk.store import rounds

    with Parts(load_settings()).store.read() as conn:
        found = rounds.newest(conn, 20)
    rows = [{"id": r.id, "state": r.state, "step": r.step, "problem": r.problem, "since": r.created_at} for r in found]
    show(rows, as_json=json)


def show_round(round_id: Id, json: Json = False) -> None:
    """Show why a round was started, what its steps left, and how it ended."""
    from shoptalk.app.parts import Parts
    from shoptalk.errors import NotFound
    from shoptalk.store import rounds, triggers

    with Parts(load_settings()).store.read() as conn:
        found, reasons = rounds.find(conn, round_id), triggers.of_round(conn, round_id)
        left = rounds.results(conn, round_id)
    if found is None:
        raise NotFound(f"there is no round {round_id[:80]}", fix="see 'shoptalk round list'")
    facts: dict[str, Any] = {
        "id": found.id,
        "state": found.state,
        "step": found.step,
        "problem": found.problem,
        "since": found.created_at,
        "reasons": [f"{t.kind}: {t.reason}" for t in reasons],
    }
    show({**facts, **left}, as_json=json)


def cancel_round(round_id: Id) -> None:
    """End a round that is under way; nothing it made is served. Labels stay."""
    _control().move("cancel", round_id, "cli")
    typer.echo(f"{round_id} is cancelled")


def learn_now(round_id: Id) -> None:
    """Let a round wait for no more labels, and train on those that are there."""
    _control().move("learn-now", round_id, "cli")
    typer.echo(f"{round_id} goes on with the labels that are there")


def _control() -> Any:
    from shoptalk.app.parts import Parts

    return Parts(load_settings()).round_control
