"""The servers of the abuse benchmark: what the one under test has in use, and a bare one that refuses everything.

Usage: python -m bench.abuse.servers PORT    runs the bare server
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import uvloop

from bench.abuse.clients import Door
from shoptalk.processes.sockets import free_port
from tests.e2e.stack import ROOT


def processes(pid: int) -> list[int]:
    """Return a process and all its descendants."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in task.read_text().split():
                found += processes(int(child))
    return found


def memory_mb(pid: int) -> float:
    """Return the resident memory of a process and its descendants together."""
    total = 0
    for each in processes(pid):
        with contextlib.suppress(OSError):
            found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{each}/status").read_text())
            total += int(found[1]) if found else 0
    return total / 1024


async def in_use(door: Door) -> dict[str, float]:
    """Return what the engine has in use, by the name of its gauge."""
    page = await door.metrics()
    return {k: float(v) for k, v in re.findall(r'shoptalk_engine\{what="(\w+)"\} (\S+)', page)}


async def serve_bare(port: int) -> None:
    """Read requests and refuse them, to keep the load generator as busy as an attack does."""
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
    """Run the bare server in another process while the context lasts. Yield its port."""
    port = free_port()
    command = [sys.executable, "-m", "bench.abuse.servers", str(port)]
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ})
    try:
        time.sleep(3.0)
        yield port
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    uvloop.run(serve_bare(int(sys.argv[1])))
