"""Reads conversations from any data set that the `datasets` library reads: a local file or folder, or one on the hub.

Rows may hold a list of turns, one turn each, or a prompt and its answer. Knows no scrubbing and no database.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from itertools import groupby, islice
from pathlib import Path
from typing import Any, Final

from ingest.formats.files import MOST_TURNS, FileConversation, LineProblem, id_of, parsed, speaker, with_roles_hint
from shoptalk.errors import InvalidInput

KINDS: Final = {".json": "json", ".jsonl": "json", ".csv": "csv", ".parquet": "parquet", ".arrow": "arrow"}
COLUMNS: Final = ("conversation_id", "customer_id", "turns", "role", "text", "at", "prompt", "response")
Row = Mapping[str, Any]


def read_dataset(
    name: str, split: str, columns: Mapping[str, str], roles: Mapping[str, str]
) -> Iterator[FileConversation | LineProblem]:
    """Yield conversations in order, read as a stream. `columns` maps our names (COLUMNS) to the data set's.

    Raises InvalidInput naming what is wrong: no such data set, split or column.
    """
    rows = _rows(name, split)
    first = next(rows, None)
    if first is None:
        return
    theirs = {ours: columns.get(ours, ours) for ours in COLUMNS}
    if unknown := [name for ours, name in columns.items() if name not in first]:
        there = ", ".join(sorted(map(str, first))[:20])
        raise InvalidInput(f"there is no column '{unknown[0][:80]}'", field="columns", fix=f"use one of {there}")
    everything = _chained(first, rows)
    if theirs["turns"] in first:
        yield from _of_lists(everything, theirs, roles)
    elif {theirs["role"], theirs["text"], theirs["conversation_id"]} <= set(first):
        yield from _of_turns(everything, theirs, roles)
    elif theirs["prompt"] in first and theirs["response"] in first:
        yield from _of_pairs(everything, theirs)
    else:
        raise InvalidInput(
            "it is not known which columns hold the conversations",
            field="columns",
            fix="name the columns: --columns turns=NAME, or conversation_id=NAME,role=NAME,text=NAME, or "
            "prompt=NAME,response=NAME",
        )


def _rows(name: str, split: str) -> Iterator[Row]:
    from datasets import load_dataset
    from datasets.exceptions import DatasetNotFoundError

    path = Path(name)
    try:
        if path.is_file():
            kind = KINDS.get(path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix)
            if kind is None:
                raise InvalidInput(f"{path.name}: of no kind that is known ({', '.join(KINDS)})", field="dataset")
            yield from load_dataset(kind, data_files={split: str(path)}, split=split, streaming=True)
        else:
            yield from load_dataset(name, split=split, streaming=True)
    except (DatasetNotFoundError, FileNotFoundError) as error:
        offline = " (offline)" if os.environ.get("HF_HUB_OFFLINE") == "1" else ""
        raise InvalidInput(f"there is no data set '{name[:200]}'{offline}", field="dataset") from error
    except (OSError, ValueError) as error:
        raise InvalidInput(f"the data set cannot be read ({type(error).__name__})", field="dataset") from error


def _chained(first: Row, rest: Iterator[Row]) -> Iterator[tuple[int, Row]]:
    yield 1, first
    yield from enumerate(rest, 2)


def _of_lists(
    rows: Iterator[tuple[int, Row]], theirs: Mapping[str, str], roles: Mapping[str, str]
) -> Iterator[FileConversation | LineProblem]:
    for number, row in rows:
        turns = row.get(theirs["turns"])
        if isinstance(turns, list):
            turns = [_listed(turn, roles) for turn in turns]
        yield _made(number, row, theirs, turns)


def _listed(turn: Any, roles: Mapping[str, str]) -> Any:
    """Return a turn, whichever names the data set uses for its parts."""
    if not isinstance(turn, Mapping):
        return turn
    text = turn.get("text", turn.get("content", turn.get("value")))
    return _turn(turn.get("role", turn.get("from")), text, turn.get("at"), roles)


def _of_turns(
    rows: Iterator[tuple[int, Row]], theirs: Mapping[str, str], roles: Mapping[str, str]
) -> Iterator[FileConversation | LineProblem]:
    for _, group in groupby(rows, key=lambda item: item[1].get(theirs["conversation_id"])):
        own = list(islice(group, MOST_TURNS + 1))
        turns = [_turn(r.get(theirs["role"]), r.get(theirs["text"]), r.get(theirs["at"]), roles) for _, r in own]
        yield _made(own[0][0], own[0][1], theirs, turns)


def _of_pairs(rows: Iterator[tuple[int, Row]], theirs: Mapping[str, str]) -> Iterator[FileConversation | LineProblem]:
    for number, row in rows:
        pair = (("customer", row.get(theirs["prompt"])), ("agent", row.get(theirs["response"])))
        yield _made(number, row, theirs, [{"role": role, "text": text} for role, text in pair])


def _turn(role: Any, text: Any, at: Any, roles: Mapping[str, str]) -> dict[str, Any]:
    return {"role": speaker(str(role), roles), "text": text, "at": at.isoformat() if hasattr(at, "isoformat") else at}


def _made(number: int, row: Row, theirs: Mapping[str, str], turns: Any) -> FileConversation | LineProblem:
    id = row.get(theirs["conversation_id"])
    customer = row.get(theirs["customer_id"])
    made = parsed(
        number, {"conversation_id": id_of(turns) if id is None else id, "customer_id": customer, "turns": turns}
    )
    return with_roles_hint(made)
