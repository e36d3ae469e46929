"""Markdown for the generated pages: tables, names as code, docstrings. Knows nothing of what they describe."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("shoptalk", "chatbot", "ingest", "labeling", "training", "monitoring")
PLACEHOLDER = re.compile(r"<(?!https?:)([^<>\n]*)>")
KINDS = {"str": "text", "int": "whole number", "float": "number", "bool": "yes or no", "Path": "path"}


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    return "".join(map(_row, [head, ["---"] * len(head), *rows]))


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(' '.join(cell.split()).replace('|', chr(92) + '|') for cell in cells)} |\n"


def code(*names: object) -> str:
    """Return names as code, with commas between."""
    return ", ".join(f"`{name}`" for name in names)


def escaped(text: str) -> str:
    """Return prose in which words in angle brackets, such as <home>, are code and no HTML."""
    return "`".join(part if n % 2 else PLACEHOLDER.sub(r"`<\1>`", part) for n, part in enumerate(text.split("`")))


def first_line(doc: str | None) -> str:
    return escaped((doc or "").strip().partition("\n")[0])


def paragraphs(doc: str | None) -> str:
    return escaped(inspect.cleandoc(doc or ""))
