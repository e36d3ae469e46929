"""A streaming chat client that uses little processor time, since it shares the cores with the servers it measures.

The metrics are those of `vllm bench serve`: time to first token, inter-token latency (gaps between pieces of text),
end-to-end latency, and goodput, the requests a second that met a target.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Sample:
    """One request. Times are in seconds; `problem` is empty where all went well."""

    ttft: float = 0.0
    itls: list[float] = field(default_factory=list)
    e2e: float = 0.0
    tokens: int = 0
    text: str = ""
    parts: list[str] = field(default_factory=list)  # tokens, where logprobs were asked for
    model: str = ""
    status: int = 0
    problem: str = ""


@dataclass(frozen=True)
class Target:
    """A server to ask. `system` is a system message for one that adds none itself."""

    name: str
    port: int
    key: str
    system: str = ""

    def body(self, model: str, text: str, tokens: int, **more: Any) -> dict[str, Any]:
        messages = [{"role": "system", "content": self.system}] if self.system else []
        return {
            "model": model,
            "messages": [*messages, {"role": "user", "content": text}],
            "max_tokens": tokens,
            "temperature": 0,
            "ignore_eos": True,
            "stream": True,
            "stream_options": {"include_usage": True},
            **more,
        }


async def ask(target: Target, body: dict[str, Any], leave_after: int | None = None) -> Sample:
    """Send one streamed request over its own connection. Hang up after `leave_after` pieces of text."""
    sample, began = Sample(), time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", target.port)
    try:
        data = json.dumps(body).encode()
        writer.write(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            b"Content-Type: application/json\r\nAuthorization: Bearer " + target.key.encode() + b"\r\n"
            b"Content-Length: " + str(len(data)).encode() + b"\r\n\r\n" + data
        )
        last = 0.0
        pieces = 0
        while line := await reader.readline():
            if not sample.status:
                sample.status = int(line.split()[1])
            elif sample.status != 200:
                sample.problem += line.decode(errors="replace")
            elif line.startswith(b"data: {"):
                event = json.loads(line[6:])
                if "error" in event:
                    sample.problem = str(event["error"])
                if event.get("usage"):
                    sample.tokens = event["usage"]["completion_tokens"]
                sample.model = event.get("model", sample.model)
                choices = event.get("choices")
                if choices and (details := choices[0].get("logprobs")):
                    sample.parts += [each["token"] for each in details["content"]]
                if choices and (text := choices[0]["delta"].get("content")):
                    now = time.perf_counter()
                    if not last:
                        sample.ttft = now - began
                    else:
                        sample.itls.append(now - last)
                    last = now
                    sample.text += text
                    pieces += 1
                    if leave_after is not None and pieces >= leave_after:
                        return sample
        sample.e2e = time.perf_counter() - began
        if sample.status != 200 and not sample.problem:
            sample.problem = f"status {sample.status}"
    except OSError as error:
        sample.problem = type(error).__name__
    finally:
        writer.close()
    return sample


async def closed_loop(
    target: Target, models: Sequence[str], texts: Sequence[str], concurrency: int, requests: int, tokens: int,
    within: float = math.inf,
) -> tuple[list[Sample], float]:  # fmt: skip
    """Run `concurrency` customers who each ask again once answered, for `within` seconds at most.

    Return the samples and the seconds until the last was answered.
    """
    left = iter(range(requests))
    samples: list[Sample] = []

    async def customer() -> None:
        for n in left:
            if time.perf_counter() - began > within:
                return
            body = target.body(models[n % len(models)], texts[n % len(texts)], tokens)
            samples.append(await ask(target, body))

    began = time.perf_counter()
    await asyncio.gather(*(customer() for _ in range(concurrency)))
    return samples, time.perf_counter() - began


async def open_loop(
    target: Target, models: Sequence[str], texts: Sequence[str], rate: float, seconds: float, tokens: int, seed: int = 1
) -> tuple[list[Sample], float]:
    """Send requests as a Poisson process of `rate` a second, however fast the server is.

    Return the samples and the seconds until the last was answered.
    """
    chance = random.Random(seed)
    tasks: list[asyncio.Task[Sample]] = []
    began = time.perf_counter()
    due = began
    while due < began + seconds:
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        n = len(tasks)
        body = target.body(models[n % len(models)], texts[n % len(texts)], tokens)
        tasks.append(asyncio.create_task(ask(target, body)))
        due += chance.expovariate(rate)
    samples = await asyncio.gather(*tasks)
    return list(samples), time.perf_counter() - began


def percentile(values: Sequence[float], share: float) -> float:
    """Return a percentile, 0 where there are no values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def summarize(samples: Sequence[Sample], seconds: float, good_ttft: float, good_tpot: float) -> dict[str, float]:
    """Return the metrics of a load: milliseconds, tokens and requests a second.

    A request is good where its first token and its time per later token are within `good_ttft` and `good_tpot` seconds.
    """
    fine = [s for s in samples if not s.problem]
    itls = [gap for s in fine for gap in s.itls]
    good = [s for s in fine if s.ttft <= good_ttft and (s.e2e - s.ttft) / max(1, s.tokens - 1) <= good_tpot]
    return {
        "requests": len(samples),
        "failed": len(samples) - len(fine),
        "tokens_per_s": sum(s.tokens for s in fine) / seconds,
        "requests_per_s": len(fine) / seconds,
        "goodput_per_s": len(good) / seconds,
        "ttft_p50_ms": 1000 * percentile([s.ttft for s in fine], 0.5),
        "ttft_p99_ms": 1000 * percentile([s.ttft for s in fine], 0.99),
        "itl_p50_ms": 1000 * percentile(itls, 0.5),
        "itl_p99_ms": 1000 * percentile(itls, 0.99),
        "e2e_p50_ms": 1000 * percentile([s.e2e for s in fine], 0.5),
        "e2e_p99_ms": 1000 * percentile([s.e2e for s in fine], 0.99),
    }


def median(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Return the median of each metric by itself."""
    return {name: statistics.median(row[name] for row in rows) for name in rows[0]}
