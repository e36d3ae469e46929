"""`shoptalk monitor`: writes reports and tests for drift."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shoptalk.cli.output import Json, show
from shoptalk.settings import load_settings


def add(app: typer.Typer) -> None:
    group = typer.Typer(help="Write reports and test for drift.", no_args_is_help=True)
    group.command("report")(report)
    group.command("drift")(drift)
    app.add_typer(group, name="monitor")


def report(output: Annotated[Path | None, typer.Option(help="Also write the HTML to this file.")] = None) -> None:
    """Write an Evidently report that compares the current window with the reference."""
    from shoptalk.app.parts import Parts

    parts = Parts(load_settings())
    written = parts.watcher.report()
    if output:
        output.write_bytes(parts.artifacts.get(written.artifact_sha256))
    typer.echo(f"{written.id}: {output or parts.artifacts.path_of(written.artifact_sha256)}")


def drift(json: Json = False) -> None:
    """Test for drift now, without starting a round."""
    from shoptalk.app.parts import Parts

    check = Parts(load_settings()).watcher.check()
    if check is None:
        typer.echo("not enough conversations yet")
        raise typer.Exit(1)
    metrics = {
        "p_value": check.p_value,
        "statistic": check.statistic,
        "reference": check.reference,
        "current": check.current,
    }
    show(metrics, as_json=json)
