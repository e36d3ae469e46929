"""Scrubs a file of conversations or single texts into another of the same shape and order. Knows no database.

A line is a JSON object with `text`, with `turns` of `{"role", "text"}`, or with `messages` of `{"role", "content"}`.
These texts are scrubbed, and the shop's record of the `customer` (see `ingest.formats.files`) helps to find more.
Whatever else is in it is kept as it is, personal data too. Each line gets `"pii": {TYPE: count}`. Placeholders that are
in the file are kept, so that a file may be scrubbed again.
"""

from __future__ import annotations

import gzip
import json
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final, Protocol, cast

from ingest.formats.files import FieldError, read_lines, record_of
from ingest.scrub.scrubbed import Scrubbed
from ingest.scrub.scrubber import in_raw
from shoptalk.domain import Message, Role
from shoptalk.errors import InvalidInput, ScrubbingFailed
from shoptalk.ports import CustomerRecord

LONGEST_LINE: Final = 64 * 1024 * 1024
BATCH_TEXTS: Final = 256
BATCH_BYTES: Final = 1024 * 1024
UNSCANNED: Final = "UNSCANNED"
ROLES: Final[dict[str, Role]] = {"agent": "assistant", "assistant": "assistant", "system": "system"}


class WholeScrubber(Protocol):
    """A scrubber that can trust placeholders, as `ingest.scrub.scrubber.PresidioScrubber` can."""

    def scrub_many(
        self,
        conversations: Sequence[Sequence[Message]],
        records: Sequence[CustomerRecord] = ...,
        *,
        trusted: bool = False,
    ) -> list[Scrubbed | ScrubbingFailed]:
        """Scrub several conversations; a failure stands in its conversation's place."""
        ...


@dataclass(slots=True)
class ScrubResult:
    """Counts of a file that was scrubbed."""

    lines: int = 0
    texts: int = 0
    #: values removed, by type
    pii: Counter[str] = field(default_factory=Counter)
    #: lines that could not be scanned; their texts are left out
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _TextField:
    """A text in a line: the object that holds it, and the key that it has there."""

    holder: dict[str, Any]
    key: str
    role: Role

    @property
    def text(self) -> str:
        return str(self.holder[self.key])


def scrub_file(
    scrubber: WholeScrubber, source: Path, target: Path, *, spans: bool, progress: Callable[[int], None]
) -> ScrubResult:
    """Write a new `target`, whole or not at all.

    `spans` adds to each text's object the type of what was found and where, in characters of the input; never the
    value. A text that cannot be scanned is left out: it is empty, its line has `problem`, its one span is all of it.
    Raises InvalidInput for a file that cannot be read or written, or a line that is no such object.
    """
    result = ScrubResult()
    try:
        with _replacing(target) as out:
            for batch in _batches(source):
                _scrub(scrubber, batch, spans, result)
                for line in batch:
                    out.write(json.dumps(line.made, ensure_ascii=False).encode() + b"\n")
                result.lines += len(batch)
                progress(result.lines)
    except OSError as error:
        raise InvalidInput(f"{target.name}: cannot be written ({type(error).__name__})", field="output") from error
    return result


@dataclass(frozen=True, slots=True)
class _Line:
    """One line of the file, and its texts."""

    number: int
    made: dict[str, Any]
    texts: list[_TextField]


def _record(line: _Line) -> CustomerRecord:
    try:
        return record_of(line.made.get("customer"))
    except FieldError:  # a file of another kind, in which `customer` means something else
        return {}


def _batches(source: Path) -> Iterator[list[_Line]]:
    """Yield lines that are scrubbed together: the more texts, the less time each takes."""
    batch: list[_Line] = []
    count = length = 0
    for number, raw in read_lines(source, LONGEST_LINE):
        made = _json(number, raw)
        texts = list(_texts(number, made))
        batch.append(_Line(number, made, texts))
        count, length = count + len(texts), length + len(raw)
        if count >= BATCH_TEXTS or length >= BATCH_BYTES:
            yield batch
            batch, count, length = [], 0, 0
    if batch:
        yield batch


def _scrub(scrubber: WholeScrubber, batch: Sequence[_Line], spans: bool, result: ScrubResult) -> None:
    """Scrub the texts of some lines in place."""
    raws = [[each.text for each in line.texts] for line in batch]
    messages = [
        [Message(each.role, raw) for each, raw in zip(line.texts, texts, strict=True)]
        for line, texts in zip(batch, raws, strict=True)
    ]
    records = [_record(line) for line in batch]
    for line, texts, done in zip(batch, raws, scrubber.scrub_many(messages, records, trusted=True), strict=True):
        result.texts += len(texts)
        if isinstance(done, ScrubbingFailed):
            finals = tuple("" for _ in texts)
            where = [[{"start": 0, "end": len(raw), "type": UNSCANNED}] if raw else [] for raw in texts]
            line.made["problem"] = done.message
            result.problems.append(f"line {line.number}: {done.message}")
        else:
            finals, found = done.final, [in_raw(raw, each) for raw, each in zip(texts, done.found, strict=True)]
            where = [[{"start": s.start, "end": s.end, "type": s.kind} for s in each] for each in found]
        for each, text, its_spans in zip(line.texts, finals, where, strict=True):
            each.holder[each.key] = text.encode("utf-8", "replace").decode()
            if spans:
                each.holder["spans"] = its_spans
        counts = Counter(str(span["type"]) for each in where for span in each)
        line.made["pii"] = dict(sorted(counts.items()))
        result.pii.update(counts)


def _texts(number: int, line: Any) -> Iterator[_TextField]:
    """Yield every text of a line, in order."""
    if not isinstance(line, dict):
        raise InvalidInput(f"line {number}: is not a JSON object", field="file")
    if isinstance(line.get("text"), str):
        yield _TextField(line, "text", "user")
    for name, key in (("turns", "text"), ("messages", "content")):
        turns = line.get(name)
        if turns is None:
            continue
        if not isinstance(turns, list):
            raise InvalidInput(f"line {number}: {name}: must be a list", field="file")
        for i, turn in enumerate(turns):
            yield from _of_turn(f"line {number}: {name}.{i}", turn, key)
    if not any(name in line for name in ("text", "turns", "messages")):
        raise InvalidInput(f"line {number}: has neither 'text' nor 'turns' nor 'messages'", field="file")


def _of_turn(what: str, turn: Any, key: str) -> Iterator[_TextField]:
    if not isinstance(turn, dict):
        raise InvalidInput(f"{what}: is not a JSON object", field="file")
    role = ROLES.get(str(turn.get("role")), "user")
    content = turn.get(key)
    if isinstance(content, str):
        yield _TextField(turn, key, role)
    elif isinstance(content, list):  # OpenAI's content parts
        for part in content:
            if isinstance(part, dict) and isinstance(part.get("text"), str):
                yield _TextField(part, "text", role)
    elif content is not None:
        raise InvalidInput(f"{what}.{key}: must be a string", field="file")


def _json(number: int, line: bytes) -> Any:
    try:
        return json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
    except (ValueError, RecursionError):
        raise InvalidInput(f"line {number}: is not JSON in UTF-8", field="file") from None


class _replacing:
    """A context for the file's new content, which replaces the old one when all of it is written."""

    def __init__(self, target: Path) -> None:
        self._target = target

    def __enter__(self) -> IO[bytes]:
        handle, name = tempfile.mkstemp(dir=self._target.parent, prefix=f".{self._target.name}.")
        self._name = name
        raw = os.fdopen(handle, "wb")
        self._files: list[IO[bytes]] = [raw]
        if self._target.suffix == ".gz":
            self._files.insert(0, cast(IO[bytes], gzip.GzipFile(fileobj=raw, mode="wb", mtime=0)))
        return self._files[0]

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            for each in self._files:
                each.close()
            if kind is None:
                os.replace(self._name, self._target)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(self._name)
