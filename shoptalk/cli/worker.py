"""`shoptalk worker`: runs the worker in this process, or checks that this host's worker works."""

from __future__ import annotations

import os
import signal
import sys
from typing import Annotated

import typer

from shoptalk.errors import ShoptalkError
from shoptalk.settings import load_settings


def add(app: typer.Typer) -> None:
    app.command()(worker)


def worker(
    check: Annotated[bool, typer.Option("--check", help="Only check that this host's worker works.")] = False,
) -> None:
    """Run the worker alone: it admits, labels, watches and learns."""
    from shoptalk import logs
    from shoptalk.app.worker import build_worker, heartbeat
    from shoptalk.processes.priority import be_modest

    settings = load_settings()
    sign = heartbeat(settings)
    if check:
        _check_worker(sign.age_s())
        return
    logs.configure()
    be_modest()
    built = build_worker(settings)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: built.stop())
    status = 1
    try:
        built.run()
        status = 0
    except Exception as error:  # noqa: BLE001 - it is printed, and the exit status is 1
        problem = error.message if isinstance(error, ShoptalkError) else type(error).__name__
        sys.stderr.write(f"shoptalk: the worker ended: {problem}\n")
    finally:
        sign.stop()
        os._exit(status)  # a step in progress may take minutes; abandoned, as by a kill, it resumes at the next start


def _check_worker(age_s: float | None) -> None:
    """Exit with status 1 where there is no recent sign of life."""
    from shoptalk.processes.heartbeat import STALE_S

    if age_s is not None and age_s < STALE_S:
        typer.echo(f"the worker works: last sign of life {age_s:.0f} s ago")
        return
    typer.echo("no worker runs here" if age_s is None else f"the worker hangs: last sign of life {age_s:.0f} s ago")
    raise typer.Exit(1)
