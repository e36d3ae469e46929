"""`shoptalk secrets`: changes the key that encrypts everything at rest."""

from __future__ import annotations

import typer

from shoptalk.cli.output import Json, show
from shoptalk.settings import load_settings


def add(app: typer.Typer) -> None:
    group = typer.Typer(help="Change the key that encrypts everything at rest.", no_args_is_help=True)
    group.callback()(lambda: None)  # a group, although it has one command
    group.command("rotate")(rotate_key)
    app.add_typer(group, name="secrets")


def rotate_key(json: Json = False) -> None:
    """Make a new key and encrypt everything at rest with it; running processes use it from then on.

    Where the key comes from SHOPTALK_SECRET_KEY: first give all processes 'NEW,OLD' there, then run this.
    """
    from shoptalk.app.parts import Parts

    show({"encrypted again": Parts(load_settings()).rotate_key()}, as_json=json)
