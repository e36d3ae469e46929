"""How fast scrubbing and imports are, and what memory an import holds. The measurements of `bench.ingest`."""

from __future__ import annotations

import contextlib
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from bench.client import percentile
from bench.retail import chats
from bench.scrubbing_quality import stock
from ingest.scrub.workers.pool import ScrubberPool
from shoptalk.clock import SystemTime
from shoptalk.domain import Message, Role
from shoptalk.errors import ScrubbingTimedOut


def speed(scrubber: ScrubberPool, count: int = 900, rounds: int = 3) -> dict[str, Any]:
    """Return messages a second of processor time: the median of `rounds`, in which all ways alternate.

    No two messages are alike. The processor time is that of this process and the scrubbing processes together.
    """
    table: dict[str, dict[str, float]] = {}
    plain = stock()
    for length in (16, 170):
        rates: dict[str, list[float]] = {}
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
                rates.setdefault(name, []).append((count if name.startswith("stock") else count // 3) / used)
        table[f"{length} characters"] = {name: round(statistics.median(each), 1) for name, each in rates.items()}
    return table


def _processor_time(scrubber: ScrubberPool) -> float:
    return time.process_time() + scrubber.processor_seconds()


def deadlines(scrubber: ScrubberPool, count: int = 40) -> dict[str, Any]:
    """Return milliseconds from a text's stop at its deadline to the next answer, and for a plain round trip."""
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
    """Return customers' messages, cut or joined to this length."""
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
    """Return the milliseconds of scrubbing for a request with an eleventh turn: history and message, then the reply.

    `known` is the usual case: the API saw the ten turns before. `new` is a case where it did not, as after a restart.
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
    """Import `count` turns into a new SQLite database. Return the speed and the memory held."""
    from ingest.formats.files import FileConversation, FileTurn
    from ingest.imports.importer import Importer
    from ingest.inbox.acceptance import EncryptedInbox
    from ingest.inbox.validation import Validator
    from shoptalk.crypto import Secrets
    from shoptalk.store import Store
    from shoptalk.store.chat.chats import StoredConversation, open_conversation

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

    def opening(conn: Any, opened: StoredConversation) -> bool:
        return open_conversation(conn, opened, "import")

    scrubber = ScrubberPool()
    scrubber.start()
    with tempfile.TemporaryDirectory() as folder:
        store = Store(f"sqlite:///{folder}/shoptalk.db")
        store.migrate()
        secrets = Secrets(bytes(32))
        importer = Importer(store, EncryptedInbox(secrets), scrubber, secrets, opening, Validator(["en"], SystemTime()))
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
