"""Beside honest customers, visitors who take the most they may: do the others notice, and does it end when they stop?

Usage: python -m bench.abuse [--seconds 120] [--visitors 200] [--only flood,texts,ids] [--costly] [--json OUT]

Four clients with keys and four visitors send a message every 5 s each, every client from an address of its own in
127.0.0.0/8. Beside them, in turn: nobody who troubles the server (rest), many visitors who take the most they may
(flood), hostile texts (texts), visitors who use the ids of the others' conversations (ids). At rest the same load
generator is as busy, against a bare server in another process, since it shares the cores.

The attackers are the harder of two kinds: they do not wait for `Retry-After`, but try again a second later, two at
once each, with a new cookie whenever they are refused. `--costly` adds the costly fields (for servers that still allow
them). All is bounded in number and time; nothing leaves 127.0.0.0/8.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvloop

from bench.client import percentile
from shoptalk.demo.shop import Shop
from shoptalk.domain import Scope
from tests.e2e.stack import ROOT, Stack, free_port, models_folder

EVERY_S = 5.0  # between an honest client's messages
PATIENCE_S = 60.0  # a client waits no longer
AT_ONCE_S = 1.0  # a refusal within this is at once
AGAIN_S = 1.0  # an attacker tries again
SETTLE_S = 60.0  # for all to end after an attack
HONEST = 4  # of each kind
TEXT = re.compile(rb'"content":\s*"[^"]')
COOKIE = re.compile(rb"set-cookie: shoptalk_session=([^;\r\n]+)", re.IGNORECASE)
RETRY = re.compile(rb"\r\nretry-after: (\d+)", re.IGNORECASE)
COSTLY = {"ignore_eos": True, "min_tokens": 8192, "max_tokens": 8192, "logprobs": True, "top_logprobs": 20}
MOST = {"max_tokens": 8192}
Row = dict[str, Any]


@dataclass(slots=True)
class Outcome:
    """How one request ended, in seconds since it was begun; status 0 where there was no answer in time."""

    status: int = 0
    head: float = 0.0
    first: float = 0.0
    end: float = 0.0
    pieces: int = 0  # of text
    retry_after: int = 0
    cookie: str = ""


@dataclass
class Client:
    """One client: its address, what it shows of itself, and what became of its requests."""

    address: str
    credential: str = ""  # a header line
    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def served(self) -> list[Outcome]:
        return [o for o in self.outcomes if o.status == 200 and o.pieces]

    @property
    def pieces(self) -> int:
        return sum(o.pieces for o in self.outcomes)


class Door:
    """The server's port, and how to ask there. Keeps no connections, parses no more than it must."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def ask(self, client: Client, body: Row | None, *, timing: bool = False, path: str = "") -> Outcome:
        """A streamed reply, or a page where there is no body. Text is looked for only where `timing` is asked for."""
        outcome, began = Outcome(), time.perf_counter()
        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
            async with asyncio.timeout(PATIENCE_S):
                await self._talk(client, body, path, outcome, began, timing)
        outcome.end = time.perf_counter() - began
        return outcome

    async def _talk(
        self, client: Client, body: Row | None, path: str, outcome: Outcome, began: float, timing: bool
    ) -> None:
        local = (client.address, 0)
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port, local_addr=local)
        try:
            writer.write(_request(client, body, path, self._port))
            status, rest = 0, b""
            while piece := await reader.read(65536):
                if not status:
                    rest += piece
                    head, found, piece = rest.partition(b"\r\n\r\n")
                    if not found:
                        continue
                    status = int(head[9:12])
                    outcome.head = time.perf_counter() - began
                    outcome.retry_after = int(m[1]) if (m := RETRY.search(head)) else 0
                    outcome.cookie = m[1].decode() if (m := COOKIE.search(head)) else ""
                if timing and not outcome.first and TEXT.search(piece):
                    outcome.first = time.perf_counter() - began
                outcome.pieces += piece.count(b"chat.completion.chunk")
            outcome.status = status
        finally:
            writer.close()

    async def cookie(self, client: Client) -> bool:
        """A new session for a visitor."""
        outcome = await self.ask(client, None, path="/")
        if outcome.cookie:
            client.credential = f"Cookie: shoptalk_session={outcome.cookie}\r\nOrigin: http://localhost:{self._port}"
        return bool(outcome.cookie)


def _request(client: Client, body: Row | None, path: str, port: int) -> bytes:
    data = b"" if body is None else json.dumps(body).encode()
    method = "GET" if body is None else "POST"
    lines = [f"{method} {path or '/v1/chat/completions'} HTTP/1.1", f"Host: localhost:{port}", "Connection: close"]
    if client.credential:
        lines.append(client.credential)
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(data)}"]
    return "\r\n".join([*lines, "", ""]).encode() + data


def message(text: str, conversation: str = "", **more: Any) -> Row:
    metadata = {"metadata": {"conversation_id": conversation}} if conversation else {}
    return {"model": "shop", "messages": [{"role": "user", "content": text}], "stream": True, **metadata, **more}


async def honest(door: Door, client: Client, name: str, texts: Iterator[str], until: float, start: float) -> None:
    """A message every few seconds; a visitor who is refused comes back when told to, or later."""
    await asyncio.sleep(start)
    visitor = not client.credential
    if visitor:
        while not await door.cookie(client) and time.perf_counter() < until:
            await asyncio.sleep(AGAIN_S)
    number = itertools.count()
    while time.perf_counter() < until:
        began = time.perf_counter()
        outcome = await door.ask(client, message(next(texts), f"{name}-{next(number)}", max_tokens=48), timing=True)
        client.outcomes.append(outcome)
        wait = max(EVERY_S - (time.perf_counter() - began), float(outcome.retry_after))
        await asyncio.sleep(max(0.0, min(wait, until - time.perf_counter())))


async def attack(door: Door, client: Client, bodies: Callable[[], Row], until: float) -> None:
    """Two at once; see above."""

    async def one() -> None:
        await asyncio.sleep(random.random() * AGAIN_S)
        while time.perf_counter() < until:
            if not client.credential and not await door.cookie(client):
                await asyncio.sleep(AGAIN_S)
                continue
            outcome = await door.ask(client, bodies())
            client.outcomes.append(outcome)
            if outcome.status != 200:
                client.credential = ""
                await asyncio.sleep(AGAIN_S)

    await asyncio.gather(one(), one())


def hostile_texts() -> list[str]:
    """Of every pattern, where their generator is there; else those that once took long."""
    try:
        from bench.pumped import texts  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError:
        return ["-".join(["2019-12-12-2019"] * 32) + "-5", " " * 3900 + "x", "1-" * 1900, "a@" * 1900, "0" * 3900,
                "Mr " * 1200, "1 " * 1900 + "street", "<ORDER_ID_1>" * 300, "a.b-" * 900, "+49 " * 900]  # fmt: skip
    return [text[:4000] for text in itertools.islice(texts(), 2000)]


def processes(pid: int) -> list[int]:
    """A process and all it started."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in task.read_text().split():
                found += processes(int(child))
    return found


def memory_mb(pid: int) -> float:
    """Resident, of the server's processes together."""
    total = 0
    for each in processes(pid):
        with contextlib.suppress(OSError):
            found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{each}/status").read_text())
            total += int(found[1]) if found else 0
    return total / 1024


async def gauges(door: Door) -> dict[str, float]:
    """What the engine has in use."""
    reader, writer = await asyncio.open_connection("127.0.0.1", door._port)
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    page = (await reader.read(-1)).decode()
    writer.close()
    return {k: float(v) for k, v in re.findall(r'shoptalk_engine\{what="(\w+)"\} (\S+)', page)}


@dataclass
class Scene:
    """A server, the honest clients' keys, and the numbers of this run."""

    door: Door
    bare: Door
    keys: list[str]
    pid: int
    seconds: float
    visitors: int
    costly: bool
    number: int = 0

    async def play(self, name: str) -> Row:
        """One phase; its figures."""
        self.number += 1
        knobs = COSTLY if self.costly else MOST
        texts = [r.opening for r in Shop(seed=self.number).everyday(200)]
        honest_texts = itertools.cycle(texts)
        shops = [Client(f"127.2.0.{n + 1}", f"Authorization: Bearer {key}") for n, key in enumerate(self.keys)]
        guests = [Client(f"127.3.0.{n + 1}") for n in range(HONEST)]
        count = self.visitors if name in ("rest", "flood") else min(50, self.visitors)
        attackers = [Client(f"127.1.{n // 250}.{n % 250 + 1}") for n in range(count)]
        began = time.perf_counter()
        until, memory = began + self.seconds, [memory_mb(self.pid)]
        names = {id(c): f"{self.number}-{'shop' if c.credential else 'guest'}-{n % HONEST}"
                 for n, c in enumerate([*shops, *guests])}  # fmt: skip
        bodies = self._bodies(name, knobs, list(names.values()))

        async def watch() -> None:
            while True:
                await asyncio.sleep(1.0)
                memory.append(memory_mb(self.pid))

        watching = asyncio.create_task(watch())
        target = self.bare if name == "rest" else self.door
        tasks = [attack(target, each, bodies, until) for each in attackers]
        for n, each in enumerate([*shops, *guests]):
            start = EVERY_S * n / (2 * HONEST)
            tasks.append(honest(self.door, each, names[id(each)], honest_texts, until, start))
        running = [asyncio.ensure_future(task) for task in tasks]
        await asyncio.wait(running[len(attackers) :], timeout=self.seconds + PATIENCE_S)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        ended = await self._settled()
        watching.cancel()
        return {
            "seconds": round(time.perf_counter() - began, 1),
            **_keys(shops),
            **_visitors(guests, [] if name == "rest" else attackers),
            "attackers": dict(Counter(str(o.status) for c in attackers for o in c.outcomes)),
            "memory_mb_first": round(memory[0]),
            "memory_mb_most": round(max(memory)),
            "memory_mb_last": round(memory[-1]),
            "ended_after_s": ended,
        }

    def _bodies(self, name: str, knobs: Row, ids: list[str]) -> Callable[[], Row]:
        if name == "texts":
            hostile = itertools.cycle(hostile_texts())
            return lambda: message(next(hostile), max_tokens=1)
        if name == "ids":
            some = itertools.cycle([f"{each}-{n}" for n in range(int(self.seconds / EVERY_S) + 2) for each in ids])
            return lambda: message("Hello, is this one mine?", next(some), max_tokens=1)
        long = ("I would like to know all about every one of your products, please. " * 60)[:4000]
        number = itertools.count()
        return lambda: message(f"{next(number)} {long}"[:4000], **knobs)

    async def _settled(self) -> float | None:
        """Seconds until no row and no queue was left; None where that did not come."""
        began = time.perf_counter()
        while (left := SETTLE_S - (time.perf_counter() - began)) > 0:
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(left):
                    found = await gauges(self.door)
                if not (found["rows"] or found["waiting"]):
                    return round(time.perf_counter() - began, 1)
            await asyncio.sleep(0.25)
        return None


def _ms(values: list[float], share: float) -> float:
    return round(1000 * percentile(values, share), 1)


def _keys(clients: list[Client]) -> Row:
    outcomes = [o for c in clients for o in c.outcomes]
    first = [o.first for o in outcomes if o.first]
    statuses = Counter(str(o.status) for o in outcomes)
    return {
        "keys_requests": len(outcomes),
        "keys_refused": len(outcomes) - statuses["200"],
        "keys_statuses": dict(statuses),
        "keys_first_p50_ms": _ms(first, 0.5),
        "keys_first_p95_ms": _ms(first, 0.95),
    }


def _visitors(guests: list[Client], attackers: list[Client]) -> Row:
    """`share`: the least that an honest visitor got of an equal share of what visitors got, or of what it wanted."""
    outcomes = [o for c in guests for o in c.outcomes]
    refusals = [o for o in outcomes if o.status == 429]
    equal = sum(c.pieces for c in [*guests, *attackers]) / max(1, len(guests) + len(attackers))
    return {
        "visitors_requests": len(outcomes),
        "visitors_served": sum(len(c.served) for c in guests),
        "visitors_first_p50_ms": _ms([o.first for o in outcomes if o.first], 0.5),
        "visitors_first_p95_ms": _ms([o.first for o in outcomes if o.first], 0.95),
        "visitors_share": round(min(c.pieces / equal for c in guests), 2) if equal else None,
        "visitors_refused": len(refusals),
        "visitors_refused_late": sum(o.head > AT_ONCE_S or not o.retry_after for o in refusals),
        "visitors_refused_p95_ms": _ms([o.head for o in refusals], 0.95),
        "visitors_timed_out": sum(not o.status for o in outcomes),
        "visitors_statuses": dict(Counter(str(o.status) for o in outcomes)),
    }


async def serve_bare(port: int) -> None:
    """Reads requests and refuses them; to keep the load generator as busy as an attack does."""
    refusal = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    page = b"HTTP/1.1 200 OK\r\nSet-Cookie: shoptalk_session=x;\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"Content-Length: (\d+)", head)
            if length:
                await reader.readexactly(int(length[1]))
            writer.write(refusal if length else page)
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", port) as server:
        await server.serve_forever()


@contextlib.contextmanager
def bare_server() -> Iterator[int]:
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "bench.abuse", "bare", str(port)], cwd=ROOT, env={**os.environ})
    try:
        time.sleep(3.0)
        yield port
    finally:
        process.terminate()
        process.wait()


def table(result: Row) -> str:
    """Markdown, a phase a column."""
    phases = result["phases"]
    lines = ["| | " + " | ".join(phases) + " |", "|---" * (len(phases) + 1) + "|"]
    lines += [
        f"| {name} | " + " | ".join(str(row[name]) for row in phases.values()) + " |"
        for name in next(iter(phases.values()))
    ]
    lines.append("| keys_first_p95 to rest | " + " | ".join(str(result["ratios"][p]) for p in phases) + " |")
    return "\n".join(lines)


def measure(options: argparse.Namespace) -> Row:
    phases = ["rest", *options.only.split(",")]
    with contextlib.ExitStack() as opened:
        folder, bare = opened.enter_context(tempfile.TemporaryDirectory()), opened.enter_context(bare_server())
        with Stack(Path(folder) / "home", engine=options.engine, models=models_folder()) as stack:
            stack.environment.pop("OMP_WAIT_POLICY")
            keys = [stack.key(Scope.CHAT) for _ in range(HONEST)]
            stack.start("serve")
            scene = Scene(
                Door(stack.settings.port), Door(bare), keys, stack.processes["serve"].pid,
                options.seconds, options.visitors, options.costly,
            )  # fmt: skip
            rows = {}
            for name in phases:
                rows[name] = uvloop.run(scene.play(name))
                print(f"{name}: {json.dumps(rows[name])}", file=sys.stderr, flush=True)
            traces = stack.log("serve").count("Traceback")
    rest = rows["rest"]["keys_first_p95_ms"]
    ratios = {name: round(row["keys_first_p95_ms"] / rest, 2) if rest else None for name, row in rows.items()}
    return {"seconds": options.seconds, "visitors": options.visitors, "costly": options.costly,
            "phases": rows, "ratios": ratios, "tracebacks": traces}  # fmt: skip


def main() -> None:
    if sys.argv[1:2] == ["bare"]:
        uvloop.run(serve_bare(int(sys.argv[2])))
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=120.0, help="of each phase")
    parser.add_argument("--visitors", type=int, default=200)
    parser.add_argument("--only", default="flood,texts,ids")
    parser.add_argument("--engine", default="embedded")
    parser.add_argument("--costly", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    result = measure(options)
    print(table(result))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
