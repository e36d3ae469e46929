"""The cost of the HTTP layer alone, beside LiteLLM's proxy (scripts/litellm.sh) over the same null engine in one run.

Usage: python -m bench.http [--rate 100] [--seconds 30] [--rounds 3] [--mode plain|streamed|both] [--json OUT]

Requests arrive as a Poisson process, however fast the servers are; no two messages are alike. Measured from outside:
a bare server that answers with the null engine's text, shoptalk without scrubbing and commit (its HTTP layer), LiteLLM
in front of each of these, and all of shoptalk. Then, inside this process and one at a time: scrubbing, and the commit.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import uvloop

from bench.client import percentile
from chatbot.api.caller import Caller
from chatbot.api.exchange import Exchange
from chatbot.api.limits.admission import Admission
from chatbot.api.prepare import conclude, prepare
from chatbot.api.schemas import ChatRequest
from chatbot.engine.null import TEXT
from chatbot.engine.protocol import Finished
from shoptalk.app.api import build_api
from shoptalk.demo.shop import Shop
from shoptalk.domain import Scope
from shoptalk.processes.sockets import free_port
from tests.e2e.stack import ROOT, Stack

LITELLM = ROOT / ".venv-bench" / "bin" / "litellm"
LITELLM_KEY = "sk-bench"
PROBES = 300
KEEP_S = 3.0  # an idle connection is reused this long
BEFORE = "LiteLLM before "
Row = dict[str, Any]


@dataclass(frozen=True)
class Server:
    """A server to ask. `needs` are the processes that must run meanwhile."""

    name: str
    port: int
    key: str
    model: str
    needs: tuple[subprocess.Popen[bytes], ...]


class Client:
    """An HTTP client that keeps its connections and parses no more than it must."""

    def __init__(self, server: Server, stream: bool) -> None:
        self._server, self._stream = server, stream
        self._idle: list[tuple[float, asyncio.StreamReader, asyncio.StreamWriter]] = []
        self.failed = 0

    async def ask(self, text: str) -> float:
        """Return the seconds until the whole answer was there."""
        body: Row = {"model": self._server.model, "messages": [{"role": "user", "content": text}]}
        data = json.dumps({**body, "stream": True} if self._stream else body).encode()
        head = (
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Authorization: Bearer %s\r\nContent-Length: %d\r\n\r\n" % (self._server.key.encode(), len(data))
        )
        began = time.perf_counter()
        reader, writer = self._waiting() or await asyncio.open_connection("127.0.0.1", self._server.port)
        writer.write(head + data)
        answer = await reader.readuntil(b"\r\n\r\n")
        length = answer.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        content = await (reader.readexactly(int(length)) if length else reader.readuntil(b"0\r\n\r\n"))
        took = time.perf_counter() - began
        if (
            not answer.startswith(b"HTTP/1.1 200")
            or b"made" not in content
            or (self._stream and b"[DONE]" not in content)
        ):
            self.failed += 1
        self._idle.append((time.perf_counter(), reader, writer))
        return took

    def _waiting(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """Return a connection used a moment ago, if there is one. Servers close those idle for longer."""
        if not self._idle or time.perf_counter() - self._idle[-1][0] > KEEP_S:
            return None
        return self._idle.pop()[1:]

    def close(self) -> None:
        for *_, writer in self._idle:
            writer.close()


async def load(server: Server, texts: Iterator[str], rate: float, seconds: float, stream: bool, seed: int) -> Row:
    """Send requests as a Poisson process. Return their number and latencies in milliseconds."""
    chance, client = random.Random(seed), Client(server, stream)
    tasks: list[asyncio.Task[float]] = []
    began = due = time.perf_counter()
    while due < began + seconds:
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        tasks.append(asyncio.create_task(client.ask(next(texts))))
        due += chance.expovariate(rate)
    times = await asyncio.gather(*tasks)
    client.close()
    return {"requests": len(times), "failed": client.failed, **_ms(times)}


def _ms(times: list[float]) -> Row:
    return {f"p{share:g}": round(1000 * percentile(times, share / 100), 3) for share in (50, 90, 99)}


def messages(seed: int) -> Iterator[str]:
    """Yield customers' first messages, no two alike."""
    shop, number = Shop(seed), 0
    while True:
        for talk in shop.everyday(200):
            number += 1
            yield f"{talk.opening} (my case {number} of {seed})"


@contextmanager
def _process(command: list[str], environment: dict[str, str], url: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("ab") as out:
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=out, cwd=ROOT)
    try:
        for _ in range(600):
            if process.poll() is not None:
                raise SystemExit(f"{command[0]} ended: {log.read_text()[-2000:]}")
            try:
                httpx.get(url, timeout=2, trust_env=False)
                break
            except httpx.TransportError:
                time.sleep(0.2)
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        process.wait()


def servers(stack: ExitStack, home: Path) -> list[Server]:
    """Start all servers. LiteLLM is configured to send no telemetry and to fetch no price list."""
    python, own = sys.executable, {**os.environ}
    whole = stack.enter_context(Stack(home / "whole"))
    whole.start("serve")
    layer = stack.enter_context(Stack(home / "layer"))
    layer_key = layer.key(Scope.CHAT)
    run = [python, "-m", "bench.null_servers"]
    layered = stack.enter_context(
        _process([*run, "layer"], layer.environment, f"{layer.url}/readyz", home / "layer.log")
    )
    port = free_port()
    bare = stack.enter_context(_process([*run, "bare", str(port)], own, f"http://127.0.0.1:{port}/", home / "bare.log"))
    here = (whole.processes["serve"],)
    found = [
        Server("a bare server", port, "none", "shop", (bare,)),
        Server("shoptalk's HTTP layer", layer.settings.port, layer_key, "shop", (layered,)),
    ]
    if LITELLM.exists():
        found += _litellm(stack, home, found, (bare, layered))
    return [*found, Server("all of shoptalk", whole.settings.port, whole.key(Scope.CHAT), "shop", here)]


def _litellm(
    stack: ExitStack, home: Path, behind: list[Server], needs: tuple[subprocess.Popen[bytes], ...]
) -> list[Server]:
    models = [
        {
            "model_name": f"shop-{n}",
            "litellm_params": {"model": "openai/shop", "api_base": f"http://127.0.0.1:{s.port}/v1", "api_key": s.key},
        }
        for n, s in enumerate(behind)
    ]
    config = {
        "model_list": models,
        "general_settings": {"master_key": LITELLM_KEY},
        "litellm_settings": {"telemetry": False, "request_timeout": 60},
    }
    path, port = home / "litellm.json", free_port()  # JSON is YAML
    path.write_text(json.dumps(config))
    quiet = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_TELEMETRY": "False", "LITELLM_LOG": "ERROR"}
    environment = {**os.environ, **quiet, "LITELLM_MODE": "PRODUCTION", "DO_NOT_TRACK": "1"}
    command = [str(LITELLM), "--config", str(path), "--host", "127.0.0.1", "--port", str(port), "--telemetry", "False"]
    url = f"http://127.0.0.1:{port}/health/liveliness"
    proxy = stack.enter_context(_process(command, environment, url, home / "litellm.log"))
    return [
        Server(f"{BEFORE}{s.name}", port, LITELLM_KEY, f"shop-{n}", (proxy, needs[n])) for n, s in enumerate(behind)
    ]


@contextmanager
def _only(these: Server, everyone: list[Server]) -> Iterator[None]:
    """Let only this server's processes run; stop all others (SIGSTOP)."""
    everything = {p.pid: p for s in everyone for p in s.needs}
    for pid, process in everything.items():
        process.send_signal(signal.SIGCONT if pid in {p.pid for p in these.needs} else signal.SIGSTOP)
    time.sleep(0.3)
    yield


def alone(home: Path) -> dict[str, Row]:
    """Return the latencies of scrubbing and of the commit, inside this process, one message at a time."""
    with Stack(home) as stack:
        services = build_api(stack.settings).state.services
        caller = Caller("key_bench", frozenset({Scope.CHAT}), "key_bench")
        reply = TEXT.format(adapter="shop v0")
        scrubbing: list[float] = []
        commits: list[float] = []
        done = Finished("stop", reply, 20, 17, 0.0, 0.0, 0.0)
        for text, _ in zip(messages(99), range(PROBES), strict=False):
            body = ChatRequest.model_validate({"model": "shop", "messages": [{"role": "user", "content": text}]})
            raw = [m.as_message() for m in body.messages]
            began = time.perf_counter()
            scrubbed = services.scrubber.scrub(raw)
            services.scrubber.scrub_correction(scrubbed.texts, reply)
            scrubbing.append(time.perf_counter() - began)
            exchange: Exchange = asyncio.run(prepare(services, caller, body, None, Admission("127.0.0.1", "keys")))
            said = conclude(services, exchange, reply, done)
            began = time.perf_counter()
            services.recorder.record(exchange, said, None)
            commits.append(time.perf_counter() - began)
        return {"scrubbing": _ms(scrubbing), "the commit": _ms(commits)}


def measure(arguments: argparse.Namespace) -> Row:
    modes = {"plain": [False], "streamed": [True], "both": [False, True]}[arguments.mode]
    result: Row = {"rate": arguments.rate, "seconds": arguments.seconds, "rounds": arguments.rounds}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        found = servers(stack, Path(folder))
        for stream in modes:
            rows: dict[str, list[Row]] = {s.name: [] for s in found}
            for number in range(arguments.rounds):
                for server in found if number % 2 == 0 else found[::-1]:
                    with _only(server, found):
                        seed = 10 * number + stream
                        uvloop.run(load(server, messages(1000 + seed), arguments.rate, 2, stream, 0))
                        gc.collect()
                        row = uvloop.run(load(server, messages(seed), arguments.rate, arguments.seconds, stream, seed))
                    rows[server.name].append(row)
                    print(
                        f"{'streamed' if stream else 'plain'} {number + 1}: {server.name}: {row}",
                        file=sys.stderr,
                        flush=True,
                    )
            result["streamed" if stream else "plain"] = {name: _median(r) for name, r in rows.items()}
    with tempfile.TemporaryDirectory() as folder:
        result["alone"] = alone(Path(folder))
    return result


def _median(rows: list[Row]) -> Row:
    return {name: round(statistics.median(r[name] for r in rows), 3) for name in rows[0]}


def table(result: Row) -> str:
    """Return the result as Markdown. LiteLLM's own cost is the difference to the server behind it."""
    lines = []
    for mode in ("plain", "streamed"):
        if mode not in result:
            continue
        rows = result[mode]
        lines += [
            f"| {mode}, {result['rate']:g} requests a second | p50 | p99 | own p50 | own p99 | failed |",
            "|---|---|---|---|---|---|",
        ]
        for name, row in rows.items():
            own = ["", ""]
            behind = name.removeprefix(BEFORE)
            if name != behind:
                own = [f"{row[p] - rows[behind][p]:.2f} ms" for p in ("p50", "p99")]
            elif name.startswith("shoptalk"):
                own = [f"{row[p]:.2f} ms" for p in ("p50", "p99")]
            lines.append(
                f"| {name} | {row['p50']:.2f} ms | {row['p99']:.2f} ms | {own[0]} | {own[1]} | {row['failed']:g} |"
            )
        lines.append("")
    lines += ["| alone, one at a time | p50 | p99 |", "|---|---|---|"]
    lines += [f"| {name} | {row['p50']:.2f} ms | {row['p99']:.2f} ms |" for name, row in result["alone"].items()]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=100.0)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--mode", choices=["plain", "streamed", "both"], default="both")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    result = measure(arguments)
    print(table(result))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
