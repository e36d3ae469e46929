"""scrub, lineage, erase."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated

import typer

from shoptalk.commands.output import Json, show
from shoptalk.settings import load_settings


def add(app: typer.Typer) -> None:
    app.command()(scrub)
    app.command()(lineage)
    app.command()(erase)


def scrub(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="Conversations or texts, JSONL or .gz.")],
    output: Annotated[Path, typer.Option(help="Where the same goes, scrubbed; .gz is compressed.")],
    spans: Annotated[bool, typer.Option("--spans", help="Add what was found where; never what it was.")] = False,
    json: Json = False,
) -> None:
    """Remove personal data from a file, as it is removed from every conversation."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TimeElapsedColumn

    from shoptalk.app.compose import scrub_file

    settings = load_settings()
    columns = (SpinnerColumn(), "{task.description} {task.completed}", TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("lines", total=None)
        result = scrub_file(settings, file, output, spans, lambda n: bar.update(task, completed=n))
    show(
        {
            "lines": result.lines,
            "texts": result.texts,
            "personal data removed": dict(sorted(result.pii.items())),
            "not scanned, and left out": result.problems,
        },
        as_json=json,
    )
    raise typer.Exit(1 if result.problems else 0)


def lineage(id: str, json: Json = False) -> None:
    """Where an adapter, dataset, release or inference comes from, and whether its decision can be repeated."""
    from shoptalk.app.compose import Parts
    from shoptalk.app.lineage import trace

    show(trace(Parts(load_settings()), id), as_json=json)


class Policy(enum.StrEnum):
    """When an adapter that was trained on what is erased leaves service."""

    NOW = "now"
    WHEN_REPLACED = "when_replaced"


def erase(
    customer: Annotated[str | None, typer.Argument(help="The customer's id, as requests name it in 'user'.")] = None,
    conversation: Annotated[str | None, typer.Option(help="A conversation's id instead, an anonymous one say.")] = None,
    owner: Annotated[str | None, typer.Option(help="With --conversation: only this owner's of that id.")] = None,
    policy: Annotated[Policy | None, typer.Option(help="When adapters trained on it leave service.")] = None,
    receipt: Annotated[str | None, typer.Option(help="Show the receipt of an erasure.")] = None,
    json: Json = False,
) -> None:
    """Erase everything a customer said, everywhere; prints a receipt. Running it again goes on where it stopped."""
    from shoptalk import logs
    from shoptalk.app.compose import Parts

    logs.configure()
    if sum(given is not None for given in (customer, conversation, receipt)) != 1:
        raise typer.BadParameter("name a customer, or --conversation, or --receipt")
    if owner is not None and conversation is None:
        raise typer.BadParameter("--owner says whose --conversation it is; a customer is erased whoever served them")
    parts = Parts(load_settings())
    if receipt is not None:
        found = parts.erasures.find(receipt)
    else:
        chosen = policy.value if policy else None
        if customer is not None:
            erasure_id = parts.erasures.begin_customer(customer, chosen)
        else:
            erasure_id = parts.erasures.begin_conversation(str(conversation), chosen, owner)
        found = parts.erasures.run(erasure_id)
    waits = {
        "erasure": found.id,
        "state": found.state,
        "waits for": found.problem,
        "then": "a worker goes on by itself",
    }
    show(found.receipt or waits, as_json=json)
    parts.close()
    raise typer.Exit(0 if found.state == "done" else 3)
