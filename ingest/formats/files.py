"""Reads conversation files: one JSON object a line, plain or gzipped. Knows no scrubbing and no database.

A line is `{"conversation_id", "customer_id"?, "started_at"?, "turns": [{"role": "customer" | "agent", "text", "at"?}],
"customer"?, "metadata"?}`; other keys are ignored. `customer` is the shop's record of the customer, with which
scrubbing finds more (`{"name", "email", "phone", "address", "order", "account", "username", "other"}`, each a string or
several); it is not kept. Times are ISO 8601; without a zone they mean UTC.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Final, cast

from shoptalk.domain import Role
from shoptalk.errors import InvalidInput
from shoptalk.ports import CustomerRecord

LONGEST_LINE: Final = 16 * 1024 * 1024
LONGEST_ID: Final = 512
MOST_TURNS: Final = 1000
FIRST_YEAR: Final = 1970
LAST_YEAR: Final = 2999
SAID_BY: Final = {"customer": "customer", "user": "customer", "client": "customer", "buyer": "customer",
                  "agent": "agent", "assistant": "agent", "bot": "agent", "support": "agent"}  # fmt: skip
ROLES: Final[dict[str, Role]] = {"customer": "user", "agent": "assistant"}


@dataclass(frozen=True, slots=True)
class FileTurn:
    """One message, raw."""

    role: Role
    text: str
    at: datetime | None


@dataclass(frozen=True, slots=True)
class FileConversation:
    """One conversation, raw: keep it in memory only."""

    line: int
    id: str
    customer: str | None
    started_at: datetime | None
    turns: tuple[FileTurn, ...]
    record: CustomerRecord = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LineProblem:
    """A problem of a line, without quoting it."""

    line: int
    #: in dotted notation, empty for the whole line
    field: str
    reason: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.field + ': ' if self.field else ''}{self.reason}"


def read_conversations(path: Path) -> Iterator[FileConversation | LineProblem]:
    """Yield conversations in order; a wrong line is a LineProblem. Raises InvalidInput for an unreadable file."""
    for number, line in read_lines(path, LONGEST_LINE):
        yield _parsed(number, line)


def read_lines(path: Path, longest: int) -> Iterator[tuple[int, bytes]]:
    """Yield lines that are not blank, numbered from 1. Raises InvalidInput for an unreadable file or long line."""
    try:
        with opened(path) as lines:
            number = 0
            while line := lines.readline(longest + 1):
                number += 1
                if len(line) > longest:
                    raise InvalidInput(f"line {number}: longer than {longest} bytes")
                if line.strip():
                    yield number, line
    except (OSError, EOFError, zlib.error) as error:
        raise InvalidInput(f"{path.name}: cannot be read ({error.__class__.__name__})", field="path") from error


def opened(path: Path) -> IO[bytes]:
    """Open a file for its bytes, unzipped where its name ends in `.gz`."""
    if path.suffix == ".gz":
        return cast(IO[bytes], gzip.open(path, "rb"))
    return path.open("rb")


def with_roles_hint(item: FileConversation | LineProblem) -> FileConversation | LineProblem:
    """Add to the problem of a table's role how such roles are mapped."""
    if isinstance(item, LineProblem) and item.field.endswith(".role"):
        return replace(item, reason=f"{item.reason}; map others with roles, such as buyer=customer,rep=agent")
    return item


class FieldError(Exception):
    """A field is wrong."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field, self.reason = field, reason


def _parsed(number: int, line: bytes) -> FileConversation | LineProblem:
    try:
        return parsed(number, decoded(number, line))
    except FieldError as wrong:
        return LineProblem(number, wrong.field, wrong.reason)


def decoded(number: int, line: bytes) -> Any:
    """Return a line's JSON; raise FieldError."""
    try:
        return json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
    except UnicodeDecodeError:
        raise FieldError("", "is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise FieldError("", f"is not JSON (column {error.colno})") from None
    except ValueError:
        raise FieldError("", "holds a number that is too long") from None
    except RecursionError:
        raise FieldError("", "is nested too deeply") from None


def parsed(number: int, data: Any) -> FileConversation | LineProblem:
    """Return a conversation given as a line of a conversation file is, or what is wrong with it."""
    try:
        return _conversation(number, data)
    except FieldError as wrong:
        return LineProblem(number, wrong.field, wrong.reason)


def _conversation(number: int, data: Any) -> FileConversation:
    if not isinstance(data, dict):
        raise FieldError("", "is not a JSON object")
    turns = data.get("turns")
    if not isinstance(turns, list) or not turns:
        raise FieldError("turns", "must be a list with at least one turn")
    if len(turns) > MOST_TURNS:
        raise FieldError("turns", f"has more than {MOST_TURNS} turns")
    if not isinstance(data.get("metadata", {}), dict | None):
        raise FieldError("metadata", "must be an object")
    return FileConversation(
        number,
        _identifier(data.get("conversation_id"), "conversation_id"),
        None if data.get("customer_id") is None else _identifier(data["customer_id"], "customer_id"),
        _time(data.get("started_at"), "started_at"),
        tuple(_turn(turn, f"turns.{i}") for i, turn in enumerate(turns)),
        record_of(data.get("customer")),
    )


def speaker(role: str, roles: Mapping[str, str]) -> str:
    """Return 'customer' or 'agent' for another name: by `roles`, else by common names; else the name itself."""
    return roles.get(role) or SAID_BY.get(role.strip().casefold(), role)


def id_of(turns: Any) -> str:
    """Return an id for a conversation that has none: the same for the same turns."""
    return f"said-{hashlib.sha256(json.dumps(turns, default=str).encode()).hexdigest()[:32]}"


def record_of(data: Any) -> CustomerRecord:
    """Return the shop's record of the customer; raise FieldError."""
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise FieldError("customer", 'must be an object such as {"name": "...", "phone": ["..."]}')
    for name, value in data.items():
        if not isinstance(value, str) and not (isinstance(value, list) and all(isinstance(v, str) for v in value)):
            raise FieldError(f"customer.{name[:40]}", "must be a string or a list of strings")
    return data


def _turn(data: Any, field: str) -> FileTurn:
    if not isinstance(data, dict):
        raise FieldError(field, "is not a JSON object")
    role = data.get("role")
    if not isinstance(role, str) or role not in ROLES:
        raise FieldError(f"{field}.role", "must be 'customer' or 'agent'")
    text = data.get("text")
    if not isinstance(text, str):
        raise FieldError(f"{field}.text", "must be a string")
    return FileTurn(ROLES[role], text, _time(data.get("at"), f"{field}.at"))


def _identifier(value: Any, field: str) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value.strip():
        raise FieldError(field, "must be a string that is not empty")
    if len(value) > LONGEST_ID:
        raise FieldError(field, f"is longer than {LONGEST_ID} characters")
    return value


def _time(value: Any, field: str) -> datetime | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise FieldError(field, "must be an ISO 8601 time")
    try:
        time = datetime.fromisoformat(value)
        time = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        raise FieldError(field, "must be an ISO 8601 time") from None
    if not FIRST_YEAR <= time.year <= LAST_YEAR:
        raise FieldError(field, f"must lie between {FIRST_YEAR} and {LAST_YEAR}")
    return time
