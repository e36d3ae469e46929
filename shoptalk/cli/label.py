"""`shoptalk label`: exchanges tasks and annotations with Label Studio, and runs a local one."""

from __future__ import annotations

import signal

import typer

from shoptalk.cli.output import Json, show
from shoptalk.settings import load_settings


def add(app: typer.Typer) -> None:
    group = typer.Typer(help="Exchange tasks and annotations with Label Studio.", no_args_is_help=True)
    group.command("push")(push)
    group.command("pull")(pull)
    group.command("status")(status)
    group.command("server")(server)
    app.add_typer(group, name="label")


def push() -> None:
    """Send samples that have no task yet."""
    from shoptalk.app.parts import Parts

    typer.echo(f"{Parts(load_settings()).push.run_once()} tasks pushed")


def pull() -> None:
    """Fetch annotations that are new or changed."""
    from shoptalk.app.parts import Parts

    result = Parts(load_settings()).pull.run_once()
    typer.echo(f"{result.annotations} annotations, {result.labels} labels, {result.fixed} fixed")


def status(json: Json = False) -> None:
    """Show how many samples, tasks, annotations and labels there are."""
    from shoptalk.app.parts import Parts
    from shoptalk.store.labeling import labels, samples

    with Parts(load_settings()).store.read() as conn:
        counts = {
            "samples": samples.count(conn),
            "tasks": samples.count(conn, pushed=True),
            "annotations": labels.count_annotations(conn),
            "labels": labels.count(conn),
            "verdicts": labels.verdicts(conn),
        }
    show(counts, as_json=json)


def server() -> None:
    """Run a local Label Studio from its own environment, until Ctrl-C."""
    from shoptalk.app.label_studio import label_studio_server

    settings = load_settings()
    typer.echo("starting Label Studio; on a busy machine this takes a minute or two")
    with label_studio_server(settings) as running:
        typer.echo(f"Label Studio  {running.url}\nuser          {running.username}")
        typer.echo(f"password      in {settings.home / 'label-studio' / 'password'}\nCtrl-C stops it.")
        try:
            signal.pause()
        except KeyboardInterrupt:
            typer.echo("stopping")
