"""Prints results: tables for people, JSON for programs. Text of others is escaped: it cannot act on a terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from shoptalk.terminal import printable, printable_json

WIDE = 240  # columns where no terminal says how many there are
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def show(value: Any, *, as_json: bool) -> None:
    """Print a mapping, or a list of mappings as a table."""
    if as_json:
        typer.echo(printable_json(json.dumps(value, ensure_ascii=False, indent=1, default=str)))
    elif isinstance(value, Mapping):
        width = max((len(str(k)) for k in value), default=0)
        for key, item in value.items():
            first, *more = item if isinstance(item, list | tuple) and item else [item]
            typer.echo(f"{key!s:<{width}}  {_cell(first)}")
            for line in more:
                typer.echo(f"{'':<{width}}  {_cell(line)}")
    else:
        _table(value)


def _table(rows: Sequence[Mapping[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not rows:
        typer.echo("none")
        return
    table = Table(box=None)
    for name in map(str, rows[0]):  # ids are copied from here, so they are never cut
        table.add_column(name, overflow="fold", no_wrap=name == "id")
    for row in rows:
        table.add_row(*(Text(_cell(value)) for value in row.values()))  # a plain string would be read as markup
    Console(width=None if sys.stdout.isatty() else WIDE).print(table)


def _cell(value: Any) -> str:
    if isinstance(value, Mapping):
        return printable(", ".join(f"{k}={v}" for k, v in value.items())) or "-"
    if isinstance(value, list | tuple):
        return printable(", ".join(map(str, value))) or "-"
    return "-" if value is None else printable(str(value))
