"""How much personal data scrubbing finds and how much else it takes, beside stock Presidio in the same run.

Usage: python -m bench.ingest [--spans FILE] [--conversations FILE] [--retail N] [--speed]
                              [--request-path N] [--deadlines] [--imports N,N] [--limit N] [--misses N] [--json OUT]

`--spans` is JSONL of `{"text", "spans": [{"start", "end", "label"}]}`; a span counts as covered when each of its
letters and digits is replaced, whatever the type given. `--conversations` is a conversation file without labels: what
an independent set of patterns still finds in it is counted. `--retail` makes up so many shop chats whose values are
known (`bench.retail`) and counts what is left of them. `--speed` is messages a second of processor time, one at a
time, read together and as `shoptalk scrub` does it (until nothing more is found), at two lengths. `--request-path N`
is what a chat's eleventh turn pays for scrubbing, in N chats each way.
`--imports 2000,20000` imports made-up conversations of so many turns, each in a process of its own: turns a second,
and the most memory it held at a tenth of the way and at the end. `--deadlines` is how soon the next text is answered
after one that was ended. `--misses` prints so many spans that were not covered.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from unittest import mock

from bench.client import percentile
from bench.retail import chats
from ingest.formats.files import opened
from ingest.scrub.scrubber import PresidioScrubber, in_raw
from ingest.scrub.workers.pool import ScrubberPool
from shoptalk.clock import SystemTime
from shoptalk.domain import Message, Role
from shoptalk.errors import ScrubbingFailed, ScrubbingTimedOut

NEITHER = {"ORGANIZATION", "DATE_TIME", "TITLE", "AGE", "NRP", "PREFIX", "LOCATION", "GPE"}
LEFT = {
    "e-mail": re.compile(r"[\w.+-]+@[\w-]+\.\w{2,}"),
    "order": re.compile(r"\b\d{3}[- ]\d{6,7}[- ]\d{6,7}\b"),
    "card": re.compile(r"\b(?:\d[ -]?){13,19}\b"),
    "phone": re.compile(r"(?<!\w)\+?(?:\d[ .()-]{0,2}){9,14}\d\b"),
}
Place = tuple[int, int]
Find = Callable[[str], Sequence[Place]]


def lines(path: Path, limit: int | None) -> Iterator[Any]:
    with opened(path) as source:
        for line in islice(source, limit):
            yield json.loads(line)


def ours(scrubber: PresidioScrubber) -> Find:
    def find(text: str) -> list[Place]:
        try:
            done = scrubber.scrub([Message("user", text)])
        except ScrubbingFailed:
            return [(0, len(text))]
        return [(s.start, s.end) for s in in_raw(text, done.found[0])]

    return find


def stock() -> Find:
    """Presidio as it comes, with the small English model and all its entities."""
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
    """Covered spans by label, and words outside all spans that were taken."""
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
    """What is left of the plain kinds, and how many words were taken, as if none but these were personal."""
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
    """Values left in made-up chats, by kind, and the share of chats that keep any."""
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


def speed(scrubber: ScrubberPool, count: int = 900, rounds: int = 3) -> dict[str, Any]:
    """Messages a second of processor time, median of some rounds that take turns; every message is another.

    The processor time is this process's and the scrubbing processes' together.
    """
    table: dict[str, dict[str, float]] = {}
    plain = stock()
    for length in (16, 170):
        figures: dict[str, list[float]] = {}
        for n in range(rounds):
            texts = _texts(length, count, seed=100 * length + n)
            alone, *parts = ([[Message("user", t)] for t in texts[i::3]] for i in range(3))
            ways: dict[str, Callable[[], object]] = {
                "stock Presidio": lambda: [plain(t) for t in texts],  # noqa: B023
                "one at a time": lambda: [scrubber.scrub(each) for each in alone],  # noqa: B023
                "read together": lambda: scrubber.scrub_many(parts[0]),  # noqa: B023
                "as a file": lambda: scrubber.scrub_many(parts[1], trusted=True),  # noqa: B023
            }
            for name, way in ways.items():
                began = _processor_time(scrubber)
                way()
                used = _processor_time(scrubber) - began
                figures.setdefault(name, []).append((count if name.startswith("stock") else count // 3) / used)
        table[f"{length} characters"] = {name: round(statistics.median(each), 1) for name, each in figures.items()}
    return table


def _processor_time(scrubber: ScrubberPool) -> float:
    return time.process_time() + scrubber.processor_seconds()


def deadlines(scrubber: ScrubberPool, count: int = 40) -> dict[str, Any]:
    """Milliseconds from the moment a text is ended to the next answer of the same place, and a bare round trip."""
    plain = [Message("user", "mail jo@x.example")]
    long = [Message("user", "ask Zorla Quuxley about the parcel, " * 800)]
    calm, after = [], []
    for _ in range(count):
        began = time.perf_counter()
        scrubber.scrub(plain)
        calm.append(1000 * (time.perf_counter() - began))
        with (
            mock.patch("ingest.scrub.workers.pool.allowance", return_value=0.05),
            contextlib.suppress(ScrubbingTimedOut),
        ):
            scrubber.scrub(long)
        began = time.perf_counter()
        scrubber.scrub(plain)
        after.append(1000 * (time.perf_counter() - began))
    return {
        name: {f"p{p}_ms": round(percentile(each, p / 100), 2) for p in (50, 95, 100)}
        for name, each in (("remembered text", calm), ("after one that was ended", after))
    }


def _texts(length: int, count: int, seed: int) -> list[str]:
    """What customers write, cut or joined to about this length."""
    made: list[str] = []
    joined = ""
    for row in chats(count * 20, seed):
        for turn in row["turns"]:
            if turn["role"] != "customer":
                continue
            joined = f"{joined} {turn['text']}".strip()
            if len(joined) >= length:
                made.append(joined[:length])
                joined = ""
        if len(made) >= count:
            return made[:count]
    raise AssertionError("too few chats")


def request_path(scrubber: ScrubberPool, count: int) -> dict[str, Any]:
    """Milliseconds a request pays for scrubbing that brings an eleventh turn: its history and words, then the reply.

    `known` as the API meets it, which saw the ten turns before; `new` where it did not, after a restart say.
    """
    roles: dict[str, Role] = {"customer": "user", "agent": "assistant"}
    times: dict[str, list[float]] = {"known": [], "new": []}
    said: list[Message] = []
    for row in chats(count * 20, seed=11):
        said += [Message(roles[turn["role"]], turn["text"]) for turn in row["turns"]]
        if len(said) < 12 or said[10].role != "user":
            said = said if len(said) < 12 else []
            continue
        history, reply, said = said[:11], said[11].content, []
        which = "known" if len(times["known"]) <= len(times["new"]) else "new"
        if which == "known":
            for turns in range(1, 10, 2):
                scrubber.scrub(history[:turns])
        began = time.perf_counter()
        before = scrubber.scrub(history)
        scrubber.scrub_correction(before.texts, before.vault.settle(reply))
        times[which].append(1000 * (time.perf_counter() - began))
        if len(times["new"]) >= count:
            break
    return {
        which: {"requests": len(each), **{f"p{p}_ms": round(percentile(each, p / 100), 1) for p in (50, 95, 99)}}
        for which, each in times.items()
    }


def imports(count: int) -> dict[str, Any]:
    """Import `count` turns into a new SQLite database."""
    from ingest.formats.files import FileConversation, FileTurn
    from ingest.imports.importer import Importer
    from ingest.inbox.acceptance import ArrivalInbox
    from ingest.inbox.validation import Validator
    from shoptalk.crypto import Secrets
    from shoptalk.store import Store
    from shoptalk.store.chat.chats import Opened, open_conversation

    memory: list[tuple[int, int]] = []
    turns = 0

    def conversations() -> Iterator[FileConversation]:
        nonlocal turns
        roles: dict[str, Role] = {"customer": "user", "agent": "assistant"}
        for n, row in enumerate(chats(count, seed=count)):
            if turns >= count:
                return
            turns += len(row["turns"])
            if n % 50 == 0:
                memory.append((turns, _resident_mb()))
            said = tuple(FileTurn(roles[t["role"]], t["text"], None) for t in row["turns"])
            yield FileConversation(n, row["conversation_id"], None, None, said)

    def opening(conn: Any, opened: Opened) -> bool:
        return open_conversation(conn, opened, "import")

    scrubber = ScrubberPool()
    scrubber.start()
    with tempfile.TemporaryDirectory() as folder:
        store = Store(f"sqlite:///{folder}/shoptalk.db")
        store.migrate()
        secrets = Secrets(bytes(32))
        importer = Importer(store, ArrivalInbox(secrets), scrubber, secrets, opening, Validator(["en"], SystemTime()))
        wall, cpu = time.perf_counter(), _processor_time(scrubber)
        result = importer.import_conversations(conversations())
        wall, cpu = time.perf_counter() - wall, _processor_time(scrubber) - cpu
        store.close()
    scrubber.close()
    assert result.turns == turns
    early = max(mb for at, mb in memory if at <= max(count // 10, memory[0][0]))
    return {
        "turns": turns, "turns_per_s": round(turns / wall), "turns_per_cpu_s": round(turns / cpu),
        "mb_at_a_tenth": early, "mb_at_most": max(mb for _, mb in memory),
    }  # fmt: skip


def _resident_mb() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) // 1024
    raise AssertionError("no VmRSS")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--spans", type=Path)
    parser.add_argument("--conversations", type=Path)
    parser.add_argument("--retail", type=int)
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--request-path", type=int)
    parser.add_argument("--deadlines", action="store_true")
    parser.add_argument("--imports", help="numbers of turns, with commas between")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--misses", type=int, default=0)
    parser.add_argument("--no-stock", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    from ingest.scrub.analyzer import Analyzer

    scrubber = PresidioScrubber(Analyzer())
    result: dict[str, Any] = {}
    if options.spans:
        rows = list(lines(options.spans, options.limit))
        result["shoptalk"] = quality(ours(scrubber), rows, options.misses)
        if not options.no_stock:
            result["stock Presidio"] = quality(stock(), rows)
    if options.conversations:
        result["conversations"] = conversations(scrubber, list(lines(options.conversations, options.limit)))
    if options.retail:
        result["retail"] = retail(scrubber, options.retail)
    if options.speed or options.request_path or options.deadlines:
        with contextlib.closing(ScrubberPool()) as processes:
            processes.start()
            if options.speed:
                result["messages_per_cpu_second"] = speed(processes)
            if options.request_path:
                result["request_path"] = request_path(processes, options.request_path)
            if options.deadlines:
                result["deadlines"] = deadlines(processes)
    if options.imports:
        counts = [int(count) for count in options.imports.split(",")]
        with ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
            result["imports"] = list(pool.map(imports, counts))
    print(json.dumps(result, indent=1))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
