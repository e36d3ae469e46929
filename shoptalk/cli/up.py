"""`shoptalk up`: runs the API and the worker together."""

from __future__ import annotations

import typer

from shoptalk.domain import Scope
from shoptalk.settings import Settings, load_settings


def add(app: typer.Typer) -> None:
    app.command()(up)


def up() -> None:
    """Run API and worker together, until Ctrl-C."""
    from shoptalk import logs
    from shoptalk.processes.supervisor import Supervisor, check_port

    logs.configure()
    settings = load_settings()
    check_port(settings)
    with Supervisor(settings) as running:
        running.start("serve")
        running.wait_ready()
        running.start("worker")
        _announce(settings)
        running.watch()


def _announce(settings: Settings) -> None:
    """Print where the pages are; make a first key where there is none."""
    from shoptalk.app.parts import Parts
    from shoptalk.processes.supervisor import hand_over
    from shoptalk.store.chat import keys

    parts = Parts(settings)
    with parts.store.read() as conn:
        known = keys.everyone(conn)
    typer.echo(f"chat page  {settings.base_url}/\nconsole    {settings.base_url}/console")
    if not known:
        key, secret = parts.new_key("first", [Scope.ADMIN])
        try:
            typer.echo(f"admin key, {hand_over(secret, settings.home)}")
        except OSError:
            parts.revoke_key(key.id)  # nobody saw it; the next start makes another
            raise
    typer.echo("Ctrl-C stops both.")
