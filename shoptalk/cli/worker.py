"""`shoptalk worker`: runs the worker in this process, or checks that this host's workers work."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from shoptalk.errors import ShoptalkError
from shoptalk.settings import load_settings

if TYPE_CHECKING:
    from shoptalk.processes.heartbeat import Sign
    from shoptalk.processes.lanes import LaneState


def add(app: typer.Typer) -> None:
    app.command()(worker)


def worker(
    check: Annotated[bool, typer.Option("--check", help="Only check that this host's workers work.")] = False,
) -> None:
    """Run the worker alone: it admits, labels, watches and learns."""
    from shoptalk import logs
    from shoptalk.app.worker import build_worker, heartbeat
    from shoptalk.processes.priority import be_modest

    settings = load_settings()
    if check:
        _check(heartbeat(settings).signs())
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
        os._exit(status)  # a step in progress may take minutes; abandoned, as by a kill, it resumes at the next start


def _check(signs: list[Sign]) -> None:
    """Print what each worker's lanes do; exit with status 1 where none works, or one hangs."""
    for sign in signs:
        typer.echo(f"{sign.worker}: {'works' if sign.works else 'hangs'}, last sign of life {sign.age_s:.0f} s ago")
        for lane in sign.lanes:
            typer.echo(f"  {lane.name}: {_doing(lane)}")
            for name, problem in lane.problems.items():
                typer.echo(f"    {name} fails: {problem}")
    if not signs:
        typer.echo("no worker runs here")
    if not signs or not all(sign.works for sign in signs):
        raise typer.Exit(1)


def _doing(lane: LaneState) -> str:
    if lane.hangs:
        return f"hangs in {lane.running} for {lane.running_s:.0f} s"
    if lane.running:
        return f"busy with {lane.running} for {lane.running_s:.0f} s"
    return f"ended its last piece of work {lane.idle_s:.0f} s ago"
