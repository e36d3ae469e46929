"""Does a shop that grows stay as cheap to run? The same work in stores of 10,000, 100,000 and a million conversations.

Usage: python -m bench.growth [--sizes 10000,100000,1000000] [--database sqlite|postgres] [--runs 5] [--json OUT]

`idle_share` is the worker's part of one core while nothing happens and a console page is open; `api_share` is the
API's, with the null engine. The operations alternate between the stores; seconds are medians.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx

from bench.bulk import CUSTOMERS, grow
from chatbot.console.overview import read_overview
from ingest.inbox.acceptance import EncryptedInbox
from ingest.inbox.drain import Drain
from labeling.sampling import sample
from shoptalk.app.worker import waiting
from shoptalk.domain import Scope, new_id
from shoptalk.events import ExchangeRecorded, TurnRecorded
from shoptalk.store.chat import chats
from tests.e2e.stack import Stack, until
from tests.postgres import PostgresServer, find_programs

LABELLED = 5_000
ADMITTED = 200  # exchanges in one measurement of admission
IDLE_S = 60.0
PAGE_S = 3.0  # between two readings of an open console page
TICKS = os.sysconf("SC_CLK_TCK")


class Shop:
    """A store of some size, and the work that is measured on it."""

    def __init__(self, home: Path, count: int, **values: Any) -> None:
        self.count = count
        self.stack = Stack(home, web_chat=False, **values)
        self.parts, self.store = self.stack.parts, self.stack.parts.store
        began = time.perf_counter()
        secrets = self.parts.secrets
        grow(
            self.store, count, min(LABELLED, count // 2), customer=lambda n: secrets.customer(f"customer {n}"),
            done=lambda n: say(f"{n:,} conversations", end="\r"),
        )  # fmt: skip
        say(f"{count:,} conversations in {time.perf_counter() - began:.0f} s; {size(home) / 1e9:.2f} GB")
        self._customers = iter(range(count // CUSTOMERS - 1, 0, -1))
        self._drain = Drain(self.store, self.parts.secrets, self.parts.scrubber)
        self.parts.scrubber.start()

    def operations(self) -> dict[str, Callable[[], float]]:
        """Return what is measured, by name; each call returns seconds."""
        watcher = self.parts.watcher
        return {
            "admission of 400 turns": self.admission,
            "sampling of a round": timed(
                lambda: sample(self.store, new_id("rnd"), 100, random.Random(0), joined=lambda *_: None)
            ),
            "a drift look": timed(watcher.check),
            "a report": timed(watcher.report),
            "a freeze of 5,000 labels": timed(self.parts.datasets.freeze),
            "an erasure": self.erasure,
            "the console's page": timed(lambda: read_overview(self.store, self.parts.settings)),
        }

    def admission(self) -> float:
        accept = EncryptedInbox(self.parts.secrets)
        with self.store.write() as conn:
            for _ in range(ADMITTED):
                con, at = new_id("con"), self.store.now()
                chats.open_conversation(conn, chats.StoredConversation(con, "storefront", None), "chat")
                turns = [
                    TurnRecorded(id=new_id("trn"), role=role, text=text, at=at)
                    for role, text in (("user", "Where is my parcel?"), ("assistant", "It is on its way."))
                ]
                payload = ExchangeRecorded(source="chat", scrubber="1", turns=turns)
                accept.accept(conn, new_id("inf"), payload, con)
        began = time.perf_counter()
        while self._drain.run_once():
            pass
        return time.perf_counter() - began

    def erasure(self) -> float:
        """Erase one of the newest customers: all conversations are labelled."""
        customer = f"customer {next(self._customers)}"
        began = time.perf_counter()
        self.parts.erasures.begin_customer(customer)
        self.parts.erasures.run_once()
        return time.perf_counter() - began

    def idle(self) -> tuple[float, float]:
        """Return the worker's and the API's parts of a core while nothing happens but a page being open."""
        self.stack.start("serve")
        self.stack.start("worker")
        key = self.stack.key(Scope.READ)
        stop = threading.Event()
        page = threading.Thread(target=self._look, args=(key, stop))
        page.start()
        try:
            time.sleep(20)  # models load
            until(lambda: not any(waiting(self.store).values()), "what was admitted to be done", 900)
            time.sleep(5)
            before, began = self._ticks(), time.perf_counter()
            time.sleep(IDLE_S)
            after, took = self._ticks(), time.perf_counter() - began
        finally:
            stop.set()
            page.join()
            for name in ("worker", "serve"):
                self.stack.stop(name)
        worker, api = ((after[name] - before[name]) / TICKS / took for name in ("worker", "serve"))
        return worker, api

    def _look(self, key: str, stop: threading.Event) -> None:
        with httpx.Client(base_url=self.stack.url, trust_env=False, timeout=60) as http:
            origin = {"Origin": self.stack.url}
            http.post("/console/login", data={"key": key}, headers=origin)
            while not stop.wait(PAGE_S):
                http.get("/console/live").raise_for_status()

    def _ticks(self) -> dict[str, int]:
        """Return the processor time of each process and its children, in clock ticks."""
        return {name: sum(map(ticks, family(child.pid))) for name, child in self.stack.processes.items()}

    def close(self) -> None:
        self.parts.scrubber.close()
        self.parts.close()


def ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def family(pid: int) -> Iterator[int]:
    """Yield a process and its descendants."""
    yield pid
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in path.read_text().split():
            yield from family(int(child))


def timed(work: Callable[[], object]) -> Callable[[], float]:
    def run() -> float:
        began = time.perf_counter()
        work()
        return time.perf_counter() - began

    return run


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def say(line: str, end: str = "\n") -> None:
    print(line, file=sys.stderr, flush=True, end=end)


def measure(sizes: list[int], database: str, runs: int) -> list[dict[str, Any]]:
    with ExitStack() as around:
        home = Path(around.enter_context(tempfile.TemporaryDirectory()))
        server: PostgresServer | None = None
        if database == "postgres":
            programs = find_programs()
            if programs is None:
                sys.exit("PostgreSQL's server programs are not installed")
            server = around.enter_context(PostgresServer(programs))
        shops = []
        for count in sizes:
            values = {"database_url": server.url(server.create())} if server else {}
            shops.append(Shop(home / str(count), count, **values))
            around.callback(shops[-1].close)
        took: dict[tuple[int, str], list[float]] = {}
        for run in range(runs + 1):
            for name in shops[0].operations():
                for shop in shops:
                    seconds = shop.operations()[name]()
                    if run:  # the first warms caches
                        took.setdefault((shop.count, name), []).append(seconds)
            say(f"run {run} of {runs}")
        shares = {shop.count: shop.idle() for shop in shops}
        return [
            {
                "database": database,
                "conversations": shop.count,
                "idle_share": round(shares[shop.count][0], 4),
                "api_share": round(shares[shop.count][1], 4),
                "seconds": {
                    name: round(statistics.median(took[shop.count, name]), 4) for name in shops[0].operations()
                },
            }
            for shop in shops
        ]


def table(rows: list[dict[str, Any]]) -> str:
    head = ["", *(f"{row['conversations']:,}" for row in rows)]
    lines = [head, ["---"] * len(head)]
    lines += [[name, *(f"{1000 * row['seconds'][name]:.1f} ms" for row in rows)] for name in rows[0]["seconds"]]
    lines += [
        [f"{words}, % of a core", *(f"{100 * row[key]:.2f}" for row in rows)]
        for words, key in (("idle worker", "idle_share"), ("API with a console page open", "api_share"))
    ]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", default="10000,100000,1000000")
    parser.add_argument("--database", choices=["sqlite", "postgres"], default="sqlite")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = measure([int(n) for n in options.sizes.split(",")], options.database, options.runs)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))
    print(table(rows))


if __name__ == "__main__":
    main()
