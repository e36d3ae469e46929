"""Sources of conversations: a file, whose format is guessed by its name and its first line, or a data set."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ingest.formats.csvfile import read_csv
from ingest.formats.files import FileConversation, LineProblem, opened, read_conversations
from ingest.formats.hub import read_dataset
from ingest.formats.openailog import read_openai
from shoptalk.errors import InvalidInput

Format = Literal["auto", "conversations", "csv", "openai", "dataset"]
Items = Iterator[FileConversation | LineProblem]


@dataclass(frozen=True, slots=True)
class Source:
    """A file or data set, and how it is to be read."""

    #: the path or the data set's name
    name: str
    format: Format = "auto"
    #: for CSV and data sets: our column names to theirs
    columns: Mapping[str, str] = field(default_factory=dict)
    #: for CSV and data sets: their roles to 'customer' or 'agent'
    roles: Mapping[str, str] = field(default_factory=dict)
    #: of a data set
    split: str = "train"

    def read(self) -> Items:
        """Return conversations in order, as a stream; a wrong one is a LineProblem. Raises InvalidInput."""
        path = Path(self.name)
        if self.format == "dataset":
            return read_dataset(self.name, self.split, self.columns, self.roles)
        if not path.is_file():
            raise InvalidInput(f"{path}: there is no such file", field="path")
        chosen = _guessed(path) if self.format == "auto" else self.format
        if chosen == "csv":
            return read_csv(path, self.columns, self.roles)
        return read_openai(path) if chosen == "openai" else read_conversations(path)


def _guessed(path: Path) -> Format:
    """Return the format by the file's name, else by its first line."""
    suffix = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
    if suffix in (".csv", ".tsv"):
        return "csv"
    if suffix in (".parquet", ".arrow"):
        return "dataset"
    try:
        with opened(path) as lines:
            first = json.loads(lines.readline(2**20).decode("utf-8-sig"))
    except (OSError, EOFError, ValueError, RecursionError):
        return "conversations"  # whose reader says what is wrong
    return "openai" if isinstance(first, dict) and ("messages" in first or "request" in first) else "conversations"


def pairs(words: str | None, field: str) -> dict[str, str]:
    """Return `a=b,c=d` as a mapping; raise InvalidInput."""
    found = {}
    for word in (words or "").split(","):
        if not word.strip():
            continue
        name, equals, value = word.partition("=")
        if not equals or not name.strip() or not value.strip():
            raise InvalidInput(f"'{word[:80]}' is not NAME=NAME, such as text=body", field=field)
        found[name.strip()] = value.strip()
    return found
