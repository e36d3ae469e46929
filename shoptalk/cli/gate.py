"""`shoptalk gate`: judges an adapter again from its recorded evidence."""

from __future__ import annotations

import typer

from shoptalk.cli.output import Json
from shoptalk.cli.verdicts import show_verdict
from shoptalk.settings import load_settings


def add(app: typer.Typer) -> None:
    app.command()(gate)


def gate(adapter: str, json: Json = False) -> None:
    """Show the gate's verdict on an adapter, and judge it again from the recorded evidence."""
    from shoptalk.app.parts import Parts

    show_verdict(Parts(load_settings()), adapter, json)
