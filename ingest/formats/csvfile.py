"""Reads conversations from CSV: one turn a row, the rows of a conversation together. Knows no scrubbing."""

from __future__ import annotations

import csv
import io
import zlib
from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from ingest.formats.files import MOST_TURNS, FileConversation, LineProblem, opened, parsed, speaker, with_roles_hint
from shoptalk.errors import InvalidInput

NEEDED: Final = ("conversation_id", "role", "text")
OPTIONAL: Final = ("customer_id", "at")
LONGEST_FIELD: Final = 1024 * 1024
SAMPLE: Final = 64 * 1024
LONGEST_HEAD: Final = 4096  # sniffing takes time that grows with the square


def read_csv(
    path: Path, columns: Mapping[str, str], roles: Mapping[str, str]
) -> Iterator[FileConversation | LineProblem]:
    """Yield conversations in order; one that is wrong is a LineProblem.

    `columns` maps our names to the file's, `roles` the file's to 'customer' or 'agent'. A conversation whose rows are
    not together is a LineProblem where it comes again: of each conversation only the id is kept in memory. Raises
    InvalidInput for a file that cannot be read, and for one without the columns that are needed.
    """
    seen: set[str] = set()
    for conversation, rows in groupby(_rows(path, columns), key=lambda item: item[1]["conversation_id"]):
        first, turns = 0, []
        for number, row in rows:
            first = first or number
            turns.append(row)
            if len(turns) > MOST_TURNS:
                break
        if conversation in seen:
            yield LineProblem(first, "conversation_id", "comes again; its rows must be together")
            continue
        seen.add(conversation)
        yield with_roles_hint(parsed(first, _conversation(conversation, turns, roles)))


def _rows(path: Path, columns: Mapping[str, str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield rows by our names for the columns, each after the number of the line it ends at."""
    csv.field_size_limit(LONGEST_FIELD)
    line = 1
    try:
        with opened(path) as raw, io.TextIOWrapper(raw, encoding="utf-8-sig", newline="") as text:
            head = text.read(SAMPLE)
            text.seek(0)
            reader = csv.DictReader(text, dialect=_dialect(head))
            names = {ours: columns.get(ours, ours) for ours in (*NEEDED, *OPTIONAL)}
            missing = [names[ours] for ours in NEEDED if names[ours] not in (reader.fieldnames or ())]
            if missing:
                ours = next(name for name, theirs in names.items() if theirs == missing[0])
                fix = f"say which it is with --columns {ours}=NAME"
                raise InvalidInput(f"there is no column '{missing[0][:80]}'", field="columns", fix=fix)
            for row in reader:
                line = reader.line_num
                yield line, {ours: row.get(theirs) or "" for ours, theirs in names.items()}
    except UnicodeDecodeError:
        raise InvalidInput(f"after line {line}: is not UTF-8", field="path") from None
    except csv.Error as error:
        raise InvalidInput(f"after line {line}: is not CSV ({error})", field="path") from None
    except (OSError, EOFError, zlib.error) as error:
        raise InvalidInput(f"{path.name}: cannot be read ({type(error).__name__})", field="path") from error


def _dialect(head: str) -> Any:
    """Return a dialect with the delimiter in use; quotes are those of CSV."""
    first = head.partition("\n")[0][:LONGEST_HEAD]
    try:
        delimiter = csv.Sniffer().sniff(first, delimiters=",;\t|").delimiter
    except csv.Error:  # one column, or none
        delimiter = ","

    class Dialect(csv.excel):
        pass

    Dialect.delimiter = delimiter
    return Dialect


def _conversation(id: str, rows: list[dict[str, str]], roles: Mapping[str, str]) -> dict[str, Any]:
    """Return the conversation as a line of a conversation file has it."""
    turns = [{"role": speaker(row["role"], roles), "text": row["text"], "at": row["at"] or None} for row in rows]
    return {"conversation_id": id, "customer_id": rows[0]["customer_id"] or None, "turns": turns}
