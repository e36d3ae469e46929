"""`shoptalk doctor`."""

from __future__ import annotations

import typer

from shoptalk.cli.output import Json, show
from shoptalk.settings import load_settings


def add(app: typer.Typer) -> None:
    app.command()(doctor)


def doctor(json: Json = False) -> None:
    """What is installed, reachable and wrong, and the one command that mends each."""
    from shoptalk.app.vllm_checks import vllm_checks
    from shoptalk.processes.doctor import examine

    found = examine(load_settings(), vllm_checks)
    rows = [{"check": c.name, "state": "ok" if c.ok else "PROBLEM", "found": c.found, "mend": c.mend} for c in found]
    show(rows, as_json=json)
    raise typer.Exit(0 if all(c.ok or c.optional for c in found) else 1)
