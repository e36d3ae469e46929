"""`shoptalk keys`: makes, lists and revokes API keys."""

from __future__ import annotations

from typing import Annotated

import typer

from shoptalk.cli.output import Json, show
from shoptalk.domain import KeyLimits, Scope
from shoptalk.settings import load_settings


def add(app: typer.Typer) -> None:
    group = typer.Typer(help="Make, list and revoke API keys.", no_args_is_help=True)
    group.command("create")(create_key)
    group.command("list")(list_keys)
    group.command("revoke")(revoke_key)
    app.add_typer(group, name="keys")


def create_key(
    scope: Annotated[list[Scope], typer.Option(help="What the key may do; repeat for several.")],
    name: Annotated[str, typer.Option(help="A name for people.")] = "unnamed",
    owner: Annotated[
        str | None,
        typer.Option(
            help="The client it is for; keys of one owner share conversations. The id of another key: the same owner."
        ),
    ] = None,
    requests_per_minute: Annotated[int, typer.Option(min=0, help="0: as the settings say.")] = 0,
    tokens_per_day: Annotated[int, typer.Option(min=0, help="Of prompts and replies; 0: as the settings say.")] = 0,
    concurrent: Annotated[int, typer.Option(min=0, help="Requests at once; 0: as the settings say.")] = 0,
) -> None:
    """Make a key. Its secret is printed once and not kept."""
    from shoptalk.app.parts import Parts

    limits = KeyLimits(requests_per_minute, tokens_per_day, concurrent)
    key, secret = Parts(load_settings()).new_key(name, scope, owner, limits)
    whose = "" if owner is None else f" of {owner}"
    typer.echo(f"{key.id}{whose} ({', '.join(sorted(key.scopes))}); the secret, shown this once:")
    typer.echo(secret)


def list_keys(json: Json = False) -> None:
    """List all keys, without their secrets."""
    from shoptalk.app.parts import Parts
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
    from shoptalk.app.parts import Parts

    Parts(load_settings()).revoke_key(key_id)
    typer.echo(f"{key_id} is revoked")
