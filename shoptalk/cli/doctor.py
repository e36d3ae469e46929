"""`shoptalk doctor`: shows what is wrong on this machine and how to fix it."""

from __future__ import annotations

import typer

from shoptalk.cli.output import Json, show
from shoptalk.settings import load_settings


def add(app: typer.Typer) -> None:
    app.command()(doctor)


def doctor(json: Json = False) -> None:
    """Show what is installed, reachable and wrong, with the command that fixes each problem."""
    from shoptalk.app.vllm_checks import vllm_checks
    from shoptalk.processes.doctor import examine

    found = examine(load_settings(), vllm_checks)
    rows = [{"check": c.name, "state": "ok" if c.ok else "PROBLEM", "found": c.found, "fix": c.fix} for c in found]
    show(rows, as_json=json)
    raise typer.Exit(0 if all(c.ok or c.optional for c in found) else 1)
