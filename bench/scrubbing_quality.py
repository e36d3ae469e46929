"""How much personal data scrubbing finds and how much else it removes. The measurements of `bench.ingest`."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from bench.retail import chats
from ingest.formats.files import opened
from ingest.scrub.scrubber import PresidioScrubber, in_raw
from shoptalk.domain import Message, Role
from shoptalk.errors import ScrubbingFailed

# labels of spans that need not be covered
NEITHER = {"ORGANIZATION", "DATE_TIME", "TITLE", "AGE", "NRP", "PREFIX", "LOCATION", "GPE"}
LEFT = {
    "e-mail": re.compile(r"[\w.+-]+@[\w-]+\.\w{2,}"),
    "order": re.compile(r"\b\d{3}[- ]\d{6,7}[- ]\d{6,7}\b"),
    "card": re.compile(r"\b(?:\d[ -]?){13,19}\b"),
    "phone": re.compile(r"(?<!\w)\+?(?:\d[ .()-]{0,2}){9,14}\d\b"),
}
Span = tuple[int, int]
Find = Callable[[str], Sequence[Span]]


def lines(path: Path, limit: int | None) -> Iterator[Any]:
    with opened(path) as source:
        for line in islice(source, limit):
            yield json.loads(line)


def ours(scrubber: PresidioScrubber) -> Find:
    """Return shoptalk's scrubber as a function. A text that it refuses counts as covered whole."""

    def find(text: str) -> list[Span]:
        try:
            done = scrubber.scrub([Message("user", text)])
        except ScrubbingFailed:
            return [(0, len(text))]
        return [(s.start, s.end) for s in in_raw(text, done.found[0])]

    return find


def stock() -> Find:
    """Return Presidio as it is shipped, with the small English model and all entities but the four impersonal ones."""
    from presidio_analyzer import AnalyzerEngine
    from presidio_analyzer.nlp_engine import NlpEngineProvider

    from ingest.scrub.presidio.engine import MODEL, cut_off_network

    cut_off_network()
    models = [{"lang_code": "en", "model_name": MODEL}]
    nlp = NlpEngineProvider(nlp_configuration={"nlp_engine_name": "spacy", "models": models}).create_engine()
    engine = AnalyzerEngine(nlp_engine=nlp, supported_languages=["en"])
    unwanted = {"LOCATION", "DATE_TIME", "NRP", "ORGANIZATION"}
    entities = sorted(set(engine.get_supported_entities("en")) - unwanted)
    return lambda text: [(r.start, r.end) for r in engine.analyze(text, language="en", entities=entities)]


def covered(text: str, start: int, end: int, taken: Sequence[bool]) -> bool:
    return all(taken[i] for i in range(start, end) if text[i].isalnum())


def quality(find: Find, rows: Sequence[Any], misses: int = 0) -> dict[str, Any]:
    """Return the share of covered spans, by label too, and the share of words outside all spans that were removed."""
    found, wanted, words, lost = Counter[str](), Counter[str](), 0, 0
    took = Counter[str]()
    shown = 0
    cpu = time.process_time()
    for row in rows:
        text = row["text"]
        taken = [False] * len(text)
        for start, end in find(text):
            taken[start:end] = [True] * (end - start)
        inside = [False] * len(text)
        for span in row["spans"]:
            start, end, label = span["start"], span["end"], span.get("label") or span.get("type")
            inside[start:end] = [True] * (end - start)
            if label in NEITHER:
                continue
            wanted[label] += 1
            if covered(text, start, end, taken):
                found[label] += 1
            elif shown < misses:
                shown += 1
                print(f"{label}: {text[start:end]!r} in {text[max(0, start - 50) : end + 40]!r}")
        for match in re.finditer(r"\w[\w'’-]*", text):
            if not any(inside[match.start() : match.end()]):
                words += 1
                if any(taken[match.start() : match.end()]):
                    lost += 1
                    took[match.group().lower()] += 1
    return {
        "covered": sum(found.values()) / max(1, sum(wanted.values())),
        "other_words_taken": lost / max(1, words),
        "by_label": {label: [found[label], wanted[label]] for label in sorted(wanted)},
        "cpu_seconds": time.process_time() - cpu,
        "most_taken": took.most_common(40) if misses else [],
    }


def conversations(scrubber: PresidioScrubber, rows: Sequence[Any]) -> dict[str, Any]:
    """Return what is left of the kinds in LEFT, and the share of all words that were removed."""
    left, words, taken, failed = Counter[str](), 0, 0, 0
    for row in rows:
        roles: dict[str, Role] = {"customer": "user", "agent": "assistant"}
        texts = [turn["text"] for turn in row["turns"]]
        try:
            done = scrubber.scrub([Message(roles[t["role"]], t["text"]) for t in row["turns"]])
        except ScrubbingFailed:
            failed += 1
            continue
        for raw, text, spans in zip(texts, done.final, done.found, strict=True):
            words += len(re.findall(r"\w[\w'’-]*", raw))
            taken += sum(len(re.findall(r"\w[\w'’-]*", raw[s.start : s.end])) for s in in_raw(raw, spans))
            plain = re.sub(r"[<‹][A-Z_]+_\d+[>›]", "|", text)
            for kind, pattern in LEFT.items():
                left[kind] += len(pattern.findall(plain))
    return {"conversations": len(rows), "failed": failed, "left": dict(left), "words_taken": taken / max(1, words)}


def retail(scrubber: PresidioScrubber, count: int, seed: int = 7) -> dict[str, Any]:
    """Return the share of values covered in made-up chats, by kind, and the share of chats that keep any value."""
    kept, wanted, leaking = Counter[str](), Counter[str](), 0
    roles: dict[str, Role] = {"customer": "user", "agent": "assistant"}
    for row in chats(count, seed):
        done = scrubber.scrub([Message(roles[t["role"]], t["text"]) for t in row["turns"]])
        left = re.sub(r"[<‹][A-Z_]+_\d+[>›]", "|", " ".join(done.final)).lower()
        wanted.update(list(row["values"]))
        found = [k for k, v in row["values"].items() if re.search(rf"(?<!\w){re.escape(v.lower())}(?!\w)", left)]
        kept.update(found)
        leaking += bool(found)
    shares = {kind: 1 - kept[kind] / wanted[kind] for kind in sorted(wanted)}
    return {"chats": count, "chats_keeping_a_value": leaking / count, "covered_by_kind": shares}
