"""The phases of the abuse benchmark: who runs beside the honest clients, for how long, and what is measured."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from bench.abuse.clients import EVERY_S, PATIENCE_S, Client, Door, Json, attack, honest, hostile_texts, message
from bench.abuse.report import keys_metrics, visitors_metrics
from bench.abuse.servers import in_use, memory_mb
from shoptalk.demo.shop import Shop

SETTLE_S = 60.0  # the longest wait for all work to end after an attack
HONEST = 4  # clients of each kind
COSTLY = {"ignore_eos": True, "min_tokens": 8192, "max_tokens": 8192, "logprobs": True, "top_logprobs": 20}
MOST = {"max_tokens": 8192}


@dataclass
class Scene:
    """A server under test, a bare one, the honest clients' keys, and the numbers of this run."""

    door: Door
    bare: Door
    keys: list[str]
    pid: int
    seconds: float
    visitors: int
    costly: bool
    number: int = 0

    async def play(self, name: str) -> Json:
        """Run one phase and return its metrics."""
        self.number += 1
        shops = [Client(f"127.2.0.{n + 1}", f"Authorization: Bearer {key}") for n, key in enumerate(self.keys)]
        guests = [Client(f"127.3.0.{n + 1}") for n in range(HONEST)]
        count = self.visitors if name in ("rest", "flood") else min(50, self.visitors)
        attackers = [Client(f"127.1.{n // 250}.{n % 250 + 1}") for n in range(count)]
        began = time.perf_counter()
        memory = [memory_mb(self.pid)]
        watching = asyncio.create_task(self._watch(memory))
        await self._run(name, [*shops, *guests], attackers, began + self.seconds)
        ended = await self._settled()
        watching.cancel()
        return {
            "seconds": round(time.perf_counter() - began, 1),
            **keys_metrics(shops),
            **visitors_metrics(guests, [] if name == "rest" else attackers),
            "attackers": dict(Counter(str(o.status) for c in attackers for o in c.outcomes)),
            "memory_mb_first": round(memory[0]),
            "memory_mb_most": round(max(memory)),
            "memory_mb_last": round(memory[-1]),
            "ended_after_s": ended,
        }

    async def _run(self, name: str, honest_clients: list[Client], attackers: list[Client], until: float) -> None:
        """Let all clients run until the honest ones are done, then stop the attackers."""
        texts = itertools.cycle([r.opening for r in Shop(seed=self.number).everyday(200)])
        names = [
            f"{self.number}-{'shop' if c.credential else 'guest'}-{n % HONEST}" for n, c in enumerate(honest_clients)
        ]
        bodies = self._bodies(name, names)
        target = self.bare if name == "rest" else self.door
        tasks = [attack(target, each, bodies, until) for each in attackers]
        for n, each in enumerate(honest_clients):
            start = EVERY_S * n / (2 * HONEST)
            tasks.append(honest(self.door, each, names[n], texts, until, start))
        running = [asyncio.ensure_future(task) for task in tasks]
        await asyncio.wait(running[len(attackers) :], timeout=self.seconds + PATIENCE_S)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _watch(self, memory: list[float]) -> None:
        while True:
            await asyncio.sleep(1.0)
            memory.append(memory_mb(self.pid))

    def _bodies(self, name: str, ids: list[str]) -> Callable[[], Json]:
        """Return what makes the attackers' next request."""
        if name == "texts":
            hostile = itertools.cycle(hostile_texts())
            return lambda: message(next(hostile), max_tokens=1)
        if name == "ids":
            some = itertools.cycle([f"{each}-{n}" for n in range(int(self.seconds / EVERY_S) + 2) for each in ids])
            return lambda: message("Hello, is this one mine?", next(some), max_tokens=1)
        knobs = COSTLY if self.costly else MOST
        long = ("I would like to know all about every one of your products, please. " * 60)[:4000]
        number = itertools.count()
        return lambda: message(f"{next(number)} {long}"[:4000], **knobs)

    async def _settled(self) -> float | None:
        """Wait until no sequence and no queue is left. Return the seconds, or None where that took too long."""
        began = time.perf_counter()
        while (left := SETTLE_S - (time.perf_counter() - began)) > 0:
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(left):
                    found = await in_use(self.door)
                if not (found["rows"] or found["waiting"]):
                    return round(time.perf_counter() - began, 1)
            await asyncio.sleep(0.25)
        return None
