"""`shoptalk monitor`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shoptalk.cli.output import Json, show
from shoptalk.settings import load_settings


def add(app: typer.Typer) -> None:
    group = typer.Typer(help="Drift and reports.", no_args_is_help=True)
    group.command("report")(report)
    group.command("drift")(drift)
    app.add_typer(group, name="monitor")


def report(output: Annotated[Path | None, typer.Option(help="Also write the HTML there.")] = None) -> None:
    """Write an Evidently report comparing the current window with the reference."""
    from shoptalk.app.parts import Parts

    parts = Parts(load_settings())
    written = parts.watcher.report()
    if output:
        output.write_bytes(parts.artifacts.get(written.artifact_sha256))
    typer.echo(f"{written.id}: {output or parts.artifacts.path_of(written.artifact_sha256)}")


def drift(json: Json = False) -> None:
    """Test for drift now, without starting anything."""
    from shoptalk.app.parts import Parts

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
