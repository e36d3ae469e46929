"""`shoptalk lineage`: shows where a thing comes from."""

from __future__ import annotations

import typer

from shoptalk.cli.output import Json, show
from shoptalk.settings import load_settings


def add(app: typer.Typer) -> None:
    app.command()(lineage)


def lineage(id: str, json: Json = False) -> None:
    """Show where an adapter, dataset, release or inference comes from, and judge it again."""
    from shoptalk.app.lineage import trace
    from shoptalk.app.parts import Parts

    show(trace(Parts(load_settings()), id), as_json=json)
