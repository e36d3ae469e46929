"""docs/reference/tables.md, from the tables, the comments beside them and the erasers."""

from __future__ import annotations

import ast
import re
import tempfile
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reference_text import PACKAGES, ROOT, code, escaped, table


def tables_page() -> str:
    """Return every table with its columns, the stage that writes it and the eraser that covers it."""
    from shoptalk.store import schema

    source = (ROOT / "shoptalk" / "store" / "schema.py").read_text()
    owners, notes = _owners(source), _column_notes(source)
    erasers = _erasers()
    text = (
        "# Tables\n\nOne stage writes each table. An eraser takes erased customers out of it; where there is none, "
        "no customer's words or ids are in the table (`tests/e2e/test_erasure.py` says why for each). Texts are "
        "scrubbed. `conversation_id` and `customer` are keyed hashes. Times are UTC.\n"
    )
    last = ""
    for name, made in schema.metadata.tables.items():
        if owners[name] != last:
            last = owners[name]
            text += f"\n## {last}\n"
        text += f"\n### {name}\n\nEraser: {erasers.get(name, 'none')}.\n\n"
        rows = [
            [code(c.name), _column(c), "" if c.nullable else "yes", escaped(notes.get((name, c.name), ""))]
            for c in made.columns
        ]
        text += table(("Column", "Type", "Always set", "Note"), rows)
    return text


def _column(column: Any) -> str:
    kind = str(column.type).lower().replace("datetime", "time")
    return kind + (", key" if column.primary_key else "") + (", unique" if column.unique else "")


def _tables(source: str) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.parse(source).body:
        value = getattr(node, "value", None)
        if isinstance(value, ast.Call) and getattr(value.func, "id", "") == "Table":
            yield typing.cast(ast.Constant, value.args[0]).value, value  # type: ignore[misc]


def _owners(source: str) -> dict[str, str]:
    """Table -> stage, by the comment above it that names one (`# ingest: ...`)."""
    lines = source.splitlines()
    stages = [(n, m[1]) for n, line in enumerate(lines, 1) if (m := re.match(rf"# ({'|'.join(PACKAGES)})\b", line))]
    return {name: [stage for at, stage in stages if at < call.lineno][-1] for name, call in _tables(source)}


def _column_notes(source: str) -> dict[tuple[str, str], str]:
    """(table, column) -> the comment at the end of its line."""
    lines, found = source.splitlines(), {}
    for name, call in _tables(source):
        for column in call.args[2:]:
            note = re.search(r"  # (?!fmt)(.*)$", lines[(column.end_lineno or 1) - 1])
            first = column.args[0] if isinstance(column, ast.Call) and column.args else None
            if note and isinstance(first, ast.Constant):
                found[name, str(first.value)] = note[1]
    return found


def _erasers() -> dict[str, str]:
    """Table or folder -> the erasers that cover it."""
    from shoptalk.app.parts import Parts
    from shoptalk.settings import Settings

    with tempfile.TemporaryDirectory() as folder:
        parts = Parts(Settings(home=Path(folder), secret_key=typing.cast(Any, "0" * 64)))
        covered = {eraser.name: eraser.covers for eraser in parts.erasers()}
        parts.close()
    names = sorted({each for covers in covered.values() for each in covers})
    return {each: code(*(name for name, covers in covered.items() if each in covers)) for each in names}
