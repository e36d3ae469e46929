"""`shoptalk erase`: erases a customer or a conversation, and shows receipts."""

from __future__ import annotations

from typing import Annotated

import typer

from shoptalk.cli.output import Json, show
from shoptalk.domain import ErasurePolicy
from shoptalk.settings import load_settings


def add(app: typer.Typer) -> None:
    app.command()(erase)


def erase(
    customer: Annotated[str | None, typer.Argument(help="The customer's id, as in the 'user' of requests.")] = None,
    conversation: Annotated[
        str | None, typer.Option(help="A conversation's id instead, such as an anonymous one.")
    ] = None,
    owner: Annotated[str | None, typer.Option(help="With --conversation: only this owner's conversation.")] = None,
    policy: Annotated[ErasurePolicy | None, typer.Option(help="When adapters trained on it are withdrawn.")] = None,
    receipt: Annotated[str | None, typer.Option(help="Show the receipt of an erasure.")] = None,
    json: Json = False,
) -> None:
    """Erase everything a customer said, everywhere, and print a receipt. Run it again to go on where it stopped."""
    from shoptalk import logs
    from shoptalk.app.parts import Parts

    logs.configure()
    if sum(given is not None for given in (customer, conversation, receipt)) != 1:
        raise typer.BadParameter("name a customer, or --conversation, or --receipt")
    if owner is not None and conversation is None:
        raise typer.BadParameter("--owner says whose --conversation it is; a customer is erased whoever served them")
    parts = Parts(load_settings())
    if receipt is not None:
        found = parts.erasures.find(receipt)
    else:
        if customer is not None:
            erasure_id = parts.erasures.begin_customer(customer, policy)
        else:
            erasure_id = parts.erasures.begin_conversation(str(conversation), policy, owner)
        parts.erasures.run(erasure_id)
        parts.erasures.clean()
        found = parts.erasures.find(erasure_id)
    waits = {
        "erasure": found.id,
        "state": found.state,
        "waits for": found.problem,
        "then": "a worker goes on by itself",
    }
    show(found.receipt or waits, as_json=json)
    parts.close()
    raise typer.Exit(0 if found.state == "done" else 3)
