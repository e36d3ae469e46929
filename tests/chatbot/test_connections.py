"""Connections are bounded in number and time, whatever comes over them; on a real server and real sockets."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import uvicorn

from chatbot.api import guard
from chatbot.api.connections import bounded_protocol
from chatbot.api.guard import Guard

pytestmark = pytest.mark.slow

WAIT_S = 10.0
LARGE = 8 * 2**20


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Reads the body and answers; with more than buffers hold where that is asked for."""
    while (await receive()).get("more_body"):
        pass
    if scope["path"] == "/slow":
        await asyncio.sleep(1.5)
    content = b"x" * LARGE if scope["path"] == "/large" else b"ok"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": content})


@contextmanager
def serving(most: int = 100, trusted: str = "") -> Iterator[int]:
    protocol = bounded_protocol(most, lambda peer: peer == trusted, lambda peer: peer, head_s=0.5, read_s=0.5)
    config = uvicorn.Config(app, port=0, http=protocol, lifespan="off", log_level="error", proxy_headers=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + WAIT_S
    while not server.started:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join(WAIT_S)


def connect(port: int, address: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=WAIT_S, source_address=(address, 0))


def read(sock: socket.socket) -> bytes:
    """Until the server closes."""
    got = b""
    try:
        while piece := sock.recv(65536):
            got += piece
    except ConnectionResetError:
        pass
    return got


GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


def works(sock: socket.socket) -> bool:
    try:
        sock.sendall(GET)
        return b"200 OK" in sock.recv(4096)
    except (ConnectionResetError, BrokenPipeError):
        return False


def asked(port: int, address: str) -> bool:
    with connect(port, address) as sock:
        return works(sock)


def test_an_address_has_so_many_connections_and_others_theirs() -> None:
    with serving(most=3) as port:
        socks = [connect(port, "127.0.0.5") for _ in range(5)]
        assert [works(sock) for sock in socks] == [True] * 3 + [False] * 2
        assert asked(port, "127.0.0.6")
        for sock in socks:
            sock.close()
        deadline = time.monotonic() + WAIT_S
        while not asked(port, "127.0.0.5"):
            assert time.monotonic() < deadline


def test_a_trusted_proxy_may_have_any_number() -> None:
    with serving(most=1, trusted="127.0.0.5") as port:
        socks = [connect(port, "127.0.0.5") for _ in range(5)]
        assert all(works(sock) for sock in socks)
        for sock in socks:
            sock.close()


@pytest.mark.parametrize("data", [b"", b"GET / HTTP/1.1\r\nHost: x\r\n", b"\r\n"])
def test_who_does_not_finish_a_head_is_cut_off(data: bytes) -> None:
    with serving() as port, connect(port) as sock:
        sock.sendall(data)
        assert b"200" not in read(sock)


def test_a_head_that_comes_in_drops_is_cut_off_also_on_a_connection_in_use() -> None:
    with serving() as port, connect(port) as sock:
        assert works(sock)
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            drip(sock)


def drip(sock: socket.socket) -> None:
    began = time.monotonic()
    while time.monotonic() - began < WAIT_S:
        sock.sendall(b"\r\n")
        time.sleep(0.05)


def test_who_does_not_read_is_cut_off() -> None:
    with serving() as port, socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        sock.connect(("127.0.0.1", port))
        sock.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(1.5)
        sock.settimeout(WAIT_S)
        assert len(read(sock)) < LARGE


def test_a_slow_answer_is_not_cut_off() -> None:
    with serving() as port, connect(port) as sock:
        sock.sendall(GET.replace(b"/ ", b"/slow "))
        assert b"200 OK" in sock.recv(4096)


def test_a_body_that_does_not_come_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "BODY_S", 0.5)

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(WAIT_S)
        return {"type": "http.request"}

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        await receive()

    with pytest.raises(guard.TooSlow):
        asyncio.run(Guard(inner)({"type": "http"}, receive, lambda _: asyncio.sleep(0)))
