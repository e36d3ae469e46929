"""The clients of the abuse benchmark: how they ask, how honest ones behave, and how attackers do.

It knows HTTP only as far as it must, and nothing of shoptalk but its chat route and its session cookie.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import random
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

EVERY_S = 5.0  # between an honest client's messages
PATIENCE_S = 60.0  # the longest a client waits for an answer
AGAIN_S = 1.0  # until an attacker tries again
TEXT = re.compile(rb'"content":\s*"[^"]')
COOKIE = re.compile(rb"set-cookie: shoptalk_session=([^;\r\n]+)", re.IGNORECASE)
RETRY = re.compile(rb"\r\nretry-after: (\d+)", re.IGNORECASE)
Json = dict[str, Any]


@dataclass(slots=True)
class Outcome:
    """How one request ended. Times are seconds since it began; the status is 0 where no answer came in time."""

    status: int = 0
    head: float = 0.0
    first: float = 0.0
    end: float = 0.0
    pieces: int = 0  # of text
    retry_after: int = 0
    cookie: str = ""


@dataclass
class Client:
    """One client: its address, its credential, and the outcomes of its requests."""

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
    """A server's port and how to send requests to it. Keeps no connections and parses no more than it must."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def ask(self, client: Client, body: Json | None, *, timing: bool = False, path: str = "") -> Outcome:
        """Request a streamed reply, or a page where `body` is None. Look for the first text only with `timing`."""
        outcome, began = Outcome(), time.perf_counter()
        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
            async with asyncio.timeout(PATIENCE_S):
                await self._talk(client, body, path, outcome, began, timing)
        outcome.end = time.perf_counter() - began
        return outcome

    async def _talk(
        self, client: Client, body: Json | None, path: str, outcome: Outcome, began: float, timing: bool
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
        """Get a new session for a visitor. Return False where the server gave none."""
        outcome = await self.ask(client, None, path="/")
        if outcome.cookie:
            client.credential = f"Cookie: shoptalk_session={outcome.cookie}\r\nOrigin: http://localhost:{self._port}"
        return bool(outcome.cookie)

    async def metrics(self) -> str:
        """Return the server's Prometheus page with its head."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        page = (await reader.read(-1)).decode()
        writer.close()
        return page


def _request(client: Client, body: Json | None, path: str, port: int) -> bytes:
    data = b"" if body is None else json.dumps(body).encode()
    method = "GET" if body is None else "POST"
    lines = [f"{method} {path or '/v1/chat/completions'} HTTP/1.1", f"Host: localhost:{port}", "Connection: close"]
    if client.credential:
        lines.append(client.credential)
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(data)}"]
    return "\r\n".join([*lines, "", ""]).encode() + data


def message(text: str, conversation: str = "", **more: Any) -> Json:
    metadata = {"metadata": {"conversation_id": conversation}} if conversation else {}
    return {"model": "shop", "messages": [{"role": "user", "content": text}], "stream": True, **metadata, **more}


async def honest(door: Door, client: Client, name: str, texts: Iterator[str], until: float, start: float) -> None:
    """Send a message every few seconds. After a refusal, wait at least as long as `Retry-After` says."""
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


async def attack(door: Door, client: Client, bodies: Callable[[], Json], until: float) -> None:
    """Keep two requests under way, with a new session after each refusal, until the time `until`."""

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
    """Return texts made from every pattern, or, where `bench.pumped` is missing, some that were once slow."""
    try:
        from bench.pumped import texts  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError:
        return ["-".join(["2019-12-12-2019"] * 32) + "-5", " " * 3900 + "x", "1-" * 1900, "a@" * 1900, "0" * 3900,
                "Mr " * 1200, "1 " * 1900 + "street", "<ORDER_ID_1>" * 300, "a.b-" * 900, "+49 " * 900]  # fmt: skip
    return [text[:4000] for text in itertools.islice(texts(), 2000)]
