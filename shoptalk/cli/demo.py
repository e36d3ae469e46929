"""`shoptalk demo`: performs the whole loop and narrates it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shoptalk.settings import load_settings


def add(app: typer.Typer) -> None:
    app.command()(demo)


def demo(
    data: Annotated[Path | None, typer.Option(help="A conversation file to replay (JSONL, .gz).")] = None,
    summary: Annotated[Path | None, typer.Option(help="Write the metrics to this file, as JSON.")] = None,
    label_studio: Annotated[bool, typer.Option(help="Label in a real Label Studio.")] = True,
    folder: Annotated[Path | None, typer.Option(help="Folder for everything of this run; default: a new one.")] = None,
    quick: Annotated[bool, typer.Option(help="Fewer conversations, less proof.")] = False,
) -> None:
    """Perform the whole loop and narrate it: chat, scrub, label, train, gate, swap, watch."""
    from shoptalk.demo.run import run_demo

    run_demo(load_settings(), data, summary, label_studio, folder, quick)
