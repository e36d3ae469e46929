"""`shoptalk release`: shows what is served, and starts, promotes, aborts and rolls back releases."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Final

import typer

from shoptalk.cli.output import Json, show
from shoptalk.domain import ReleaseState
from shoptalk.moves import RELEASE_MOVES_BY_HAND
from shoptalk.settings import load_settings

Reason = Annotated[str, typer.Option(help="For the record.")]
ACTOR = "cli"
ROLL_OUT_S = 60.0  # that a command waits for


def add(app: typer.Typer) -> None:
    group = typer.Typer(help="Show and change which adapter is served.", no_args_is_help=True)
    group.command("status")(status)
    group.command("start")(start)
    for move in RELEASE_MOVES_BY_HAND:
        group.command(move)(MOVES[move])
    app.add_typer(group, name="release")


def status(json: Json = False) -> None:
    """Show what each alias should serve, what each API serves, and the latest releases."""
    from shoptalk.app.parts import Parts
    from shoptalk.store.chat import releases

    with Parts(load_settings()).store.read() as conn:
        desired, observed = releases.all_desired(conn), releases.all_observed(conn)
        newest, events = releases.newest(conn, 10), releases.events(conn, 10)
    show(
        {
            "desired": [f"{d.alias} -> {d.adapter} (before: {d.previous})" for d in desired],
            "observed": [f"{o.process[:12]}: {o.alias} -> {o.adapter} {o.problem or ''}".strip() for o in observed],
            "releases": [f"{r.id}: {r.alias} -> {r.adapter}, {r.state.value}" for r in newest],
            "events": [
                f"{e.created_at:%Y-%m-%d %H:%M:%S} {e.move} {e.release_id} by {e.actor} {e.reason}" for e in events
            ],
        },
        as_json=json,
    )


def start(adapter: str, alias: str | None = None) -> None:
    """Start a release of an adapter."""
    from shoptalk.app.parts import Parts

    settings = load_settings()
    release = Parts(settings).releases.start(alias or settings.model_alias, adapter, ACTOR)
    typer.echo(f"{release.id} is {release.state.value}; next: shoptalk release promote {release.id}")


def promote(release_id: str, reason: Reason = "") -> None:
    """Roll a release out, and wait until every API process serves it or one refuses it."""
    from shoptalk.app.parts import Parts
    from shoptalk.moves import plain

    moves = Parts(load_settings()).releases
    release = moves.settled(moves.promote(release_id, ACTOR, reason).id, ROLL_OUT_S)
    typer.echo(f"{release.alias} -> {release.adapter}: {plain(release.state)}")
    if release.state is ReleaseState.FAILED:
        raise typer.Exit(1)


def abort(release_id: str, reason: Reason = "") -> None:
    """End a release that is not live yet."""
    from shoptalk.app.parts import Parts

    typer.echo(f"{Parts(load_settings()).releases.abort(release_id, ACTOR, reason).id} is aborted")


def rollback(
    alias: Annotated[str | None, typer.Argument(help="Default: the shop's alias.")] = None, reason: Reason = ""
) -> None:
    """Serve the previous adapter again, at once."""
    from shoptalk.app.parts import Parts

    settings = load_settings()
    release = Parts(settings).releases.rollback_alias(alias or settings.model_alias, ACTOR, reason)
    typer.echo(f"{release.alias} -> {release.previous} (was {release.adapter})")


MOVES: Final[Mapping[str, Callable[..., None]]] = {"promote": promote, "abort": abort, "rollback": rollback}
