"""Broken bodies, broken HTTP, slow and vanishing clients: no server error, no hang, no traceback in the log."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from chatbot.api.guard import MAX_BODY
from tests.e2e.stack import Stack, stack
from tests.postgres import PostgresServer

pytestmark = pytest.mark.slow
LONGEST_S = 10.0
STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})")
CHAT = "/v1/chat/completions"


def message(text: object, **more: object) -> bytes:
    return json.dumps({"model": "shop", "messages": [{"role": "user", "content": text}], **more}).encode()


HELLO = message("Hello")
LONE = "\ud800"
BODIES = {
    "empty": b"",
    "half an object": b'{"model": "shop", "messages": [',
    "no JSON": b"hello",
    "an array": b"[]",
    "null": b"null",
    "not a number": b'{"model": "shop", "temperature": NaN, "messages": [{"role": "user", "content": "x"}]}',
    "a huge number": b'{"model": "shop", "seed": ' + b"9" * 6000 + b', "messages": [{"role":"user","content":"x"}]}',
    "infinity": b'{"model": "shop", "temperature": 1e999, "messages": [{"role": "user", "content": "x"}]}',
    "deep arrays": b"[" * 100_000,
    "deep objects": b'{"a":' * 100_000,
    "deep and closed": b"[" * 50_000 + b"]" * 50_000,
    "deep in an ignored field": HELLO[:-1] + b', "x": ' + b"[" * 900 + b"]" * 900 + b"}",
    "NUL": b"\0" * 100,
    "NUL in a message": message("a\0b"),
    "NUL in the ids": message("hi", user="a\0b", metadata={"conversation_id": "c\0d", "\0": "\0"}),
    "not UTF-8": HELLO.replace(b"Hello", b"\xff\xfe\xc3\x28"),
    "UTF-16": HELLO.decode().encode("utf-16"),
    "UTF-32": HELLO.decode().encode("utf-32"),
    "a mark at the start": b"\xef\xbb\xbf" + HELLO,
    "surrogate in a message": message(LONE),
    "surrogate in the model": message("hi").replace(b'"shop"', b'"\\ud800"'),
    "surrogate in the ids": message("hi", user=LONE, metadata={"conversation_id": LONE}),
    "surrogate as a key": message("hi", metadata={LONE: "x" * 600}),
    "surrogate in the type": message([{"type": LONE, "text": "x"}]),
    "surrogate in a stop": message("hi", stop=[LONE]),
    "surrogate in an ignored field": message("hi", **{LONE: LONE}),
    "the same key twice": HELLO[:-1] + b', "model": "shop", "messages": []}',
    "a thousand messages": json.dumps(
        {"model": "shop", "messages": [{"role": "user", "content": "x"}] * 1000}
    ).encode(),
    "controls": message("".join(map(chr, range(32))) + "\x7f\x85\u2028\u202e\ufeff\ufffe\U0010ffff"),
    "combining marks": message("e" + "\u0301" * 20_000),
    "one long word": message("a" * 32_000),
    "digits": message("1" * 32_000),
    "at signs": message("a@" * 16_000),
    "many placeholders": message("<ORDER_ID_1>" * 2000),
    "open brackets": message("<" * 32_000),
}
TYPES = ("", "text/plain", "application/xml", "multipart/form-data", "multipart/form-data; boundary=x", "a" * 4000)
TYPES += ("application/x-www-form-urlencoded", "application/json; charset=utf-16", "application/json;;;", "\xff/\xff")


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    values = {}
    if request.param == "postgres":
        server: PostgresServer = request.getfixturevalue("postgres")
        values["database_url"] = server.url(server.create())
    for made in stack(tmp_path_factory.mktemp("home"), **values):
        made.start("serve")
        yield made


@pytest.fixture(scope="module")
def key(running: Stack) -> bytes:
    return running.key().encode()


@pytest.fixture(autouse=True)
def unharmed(running: Stack) -> Iterator[None]:
    """Check after each test that the server answers at once and logged no error."""
    yield
    assert httpx.get(f"{running.url}/readyz", timeout=2, trust_env=False).status_code == 200
    log = running.log("serve")
    assert "Traceback" not in log, log[-3000:]
    assert "request failed" not in log, log[-3000:]


def request(key: bytes, body: bytes = HELLO, *headers: bytes, path: str = CHAT, method: bytes = b"POST") -> bytes:
    if not any(h.startswith(b"Content-Type") for h in headers):
        headers = (*headers, b"Content-Type: application/json")
    lines = [b"%s %s HTTP/1.1" % (method, path.encode()), b"Host: localhost", b"Authorization: Bearer " + key, *headers]
    if not any(h.lower().startswith((b"content-length", b"transfer-encoding")) for h in headers):
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join([*lines, b"", b""]) + body


def short(value: str | bytes) -> str:
    return repr(value[:24])


def talk(running: Stack, data: bytes, *, close: bool = False) -> bytes:
    """Send everything, with `close` end the sending side, and read until the server closes.

    A server that never closes fails the test by a timeout.
    """
    with socket.create_connection(("127.0.0.1", running.settings.port), timeout=LONGEST_S) as sock:
        try:
            sock.sendall(data)
            if close:
                sock.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError):
            pass  # refused during sending; there may still be an answer
        got = b""
        try:
            while piece := sock.recv(65536):
                got += piece
        except ConnectionResetError:
            pass
    return got


def statuses(answer: bytes) -> list[int]:
    found = [int(s) for s in STATUS.findall(answer)]
    assert all(s < 500 for s in found), answer[:2000]
    return found


CLOSE = b"Connection: close"


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("path", [CHAT, "/v1/feedback", "/v1/releases", "/v1/releases/x/promote"])
def test_bodies(running: Stack, key: bytes, name: str, path: str) -> None:
    answer = talk(running, request(key, BODIES[name], CLOSE, path=path))
    (status,) = statuses(answer)
    assert status in {200, 400, 404, 409}
    if status != 200:
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["message"]


@pytest.mark.parametrize("kind", TYPES, ids=short)
@pytest.mark.parametrize("path", [CHAT, "/console/login", "/console/logout"])
def test_content_types(running: Stack, key: bytes, kind: str, path: str) -> None:
    header = b"Content-Type: " + kind.encode("latin-1")
    assert statuses(talk(running, request(key, HELLO, CLOSE, header, path=path)))


FEEDBACK = {"metric": "thumbs", "value": 1}
PATHS = {
    "/v1/feedback": [{**FEEDBACK, "inference_id": "a\0b"}, {**FEEDBACK, "conversation_id": "\0"}, FEEDBACK],
    "/v1/releases": [{"adapter": "a\0@v1"}, {"adapter": "shop@v" + "9" * 70}, {"adapter": "shop@v9223372036854775808"}],
    "/v1/releases/a%00b/promote": [{"reason": "x"}],
    "/v1/releases/%ff/abort": [{"reason": "a\0b"}],
    "/console/releases/a%00b/promote": [{}],
}


@pytest.mark.parametrize("path", PATHS)
def test_ids_that_no_database_accepts(running: Stack, key: bytes, path: str) -> None:
    for body in PATHS[path]:
        (status,) = statuses(talk(running, request(key, json.dumps(body).encode(), CLOSE, path=path)))
        assert 400 <= status < 500
    for address in ("/v1/reports/a%00b", "/v1/runs?limit=99999999999999999999", "/console?moved=%00", "/static/%00"):
        statuses(talk(running, request(key, b"", CLOSE, path=address, method=b"GET")))


def test_a_reason_that_no_database_accepts(running: Stack, key: bytes) -> None:
    headers = {"Authorization": f"Bearer {key.decode()}"}
    with httpx.Client(base_url=running.url, headers=headers, trust_env=False, timeout=LONGEST_S) as http:
        made = http.post("/v1/releases", json={"adapter": "other@v0"}).json()
        moved = http.post(f"/v1/releases/{made['id']}/abort", json={"reason": "a\0b"})
        assert moved.status_code == 400, moved.text
        assert http.post(f"/v1/releases/{made['id']}/abort", json={"reason": "ab"}).status_code == 200


HEADERS = {
    "a megabyte": b"X-Long: " + b"a" * 2**20,
    "ten thousand": b"\r\n".join(b"X-%d: 1" % i for i in range(10_000)),
    "a long idempotency key": b"Idempotency-Key: " + b"k" * 100_000,
    "bytes in an idempotency key": b"Idempotency-Key: \xff\xfe",
    "many cookies": b"Cookie: " + b"shoptalk_session=x; " * 2000,
    "a broken session": b"Cookie: shoptalk_session=\xff\xfe; shoptalk_console=gAAAAA==",
    "bytes as a key": b"Authorization: Bearer \xff\xfe\x80",
    "an empty key": b"Authorization: Bearer",
    "another scheme": b"Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
    "no colon": b"nonsense",
    "NUL": b"X-Nul: a\0b",
    "folded": b"X-Folded: a\r\n b",
    "two lengths": b"Content-Length: 3\r\nContent-Length: 5",
    "a length below zero": b"Content-Length: -1",
    "no number as length": b"Content-Length: ten",
    "length and chunks": b"Content-Length: 3\r\nTransfer-Encoding: chunked",
    "an unknown encoding": b"Transfer-Encoding: rot13",
    "an upgrade": b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13",
    "HTTP/2": b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__",
    "waiting to continue": b"Expect: 100-continue",
    "an unknown expectation": b"Expect: the-worst",
    "two hosts": b"Host: a\r\nHost: b",
    "a foreign origin": b"Origin: http://evil.example",
    "ranges": b"Range: bytes=0-18446744073709551616",
}


@pytest.mark.parametrize("name", HEADERS)
@pytest.mark.parametrize("path", [CHAT, "/", "/console", "/static/style.css"])
def test_headers(running: Stack, key: bytes, name: str, path: str) -> None:
    method = b"POST" if path == CHAT else b"GET"
    body = HELLO if path == CHAT else b""
    own = [] if HEADERS[name].startswith((b"Content-Length", b"Transfer")) else [b"Content-Length: %d" % len(body)]
    statuses(talk(running, request(key, body, *own, CLOSE, HEADERS[name], path=path, method=method), close=True))


METHODS = (b"BREW", b"get", b"TRACE", b"CONNECT", b"OPTIONS", b"PATCH", b"DELETE", b"PRI", b"\xff")
ADDRESSES = (CHAT, "/", "*", "/%00", "/%ff%fe", "/v1/reports/%00", "/v1/reports/..%2f..", "//", "?", "/a" * 20_000)


@pytest.mark.parametrize("method", METHODS, ids=short)
@pytest.mark.parametrize("path", ADDRESSES, ids=short)
def test_methods_and_paths(running: Stack, key: bytes, method: bytes, path: str) -> None:
    statuses(talk(running, request(key, b"", CLOSE, path=path, method=method), close=True))
    statuses(talk(running, request(key, b"", CLOSE, path=path, method=b"GET"), close=True))


FIRST_LINES = (
    b"",
    b"\r\n\r\n",
    b"\0" * 1000,
    b"\x16\x03\x01\x02\x00\x01\x00",  # TLS
    b"GET /healthz\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET http://elsewhere/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    b"GET /healthz HTTP/1.0\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n",
    b"G" * 100_000,
)


@pytest.mark.parametrize("data", FIRST_LINES, ids=short)
def test_first_lines(running: Stack, data: bytes) -> None:
    statuses(talk(running, data, close=True))


def test_old_http(running: Stack, key: bytes) -> None:
    data = request(key).replace(b"HTTP/1.1", b"HTTP/1.0")
    assert statuses(talk(running, data)) == [200]
    streamed = request(key, message("Hello", stream=True)).replace(b"HTTP/1.1", b"HTTP/1.0")
    assert b"[DONE]" in talk(running, streamed)


def test_too_large(running: Stack, key: bytes) -> None:
    large = message("x" * (MAX_BODY + 1))
    assert statuses(talk(running, request(key, large, CLOSE))) in ([413], [])
    chunk = b"%x\r\n%s\r\n" % (2**20, b" " * 2**20)
    data = request(key, chunk * 5 + b"0\r\n\r\n", CLOSE, b"Transfer-Encoding: chunked")
    assert statuses(talk(running, data)) in ([413], [])
    just = HELLO + b" " * (MAX_BODY - len(HELLO))
    assert statuses(talk(running, request(key, just, CLOSE))) == [200]


@pytest.mark.parametrize(
    "chunks", [b"zz\r\n", b"-1\r\n", b"f" * 40 + b"\r\n", b"5\r\nab", b"0\r\nX: y\r\n\r\n", b"0;a=b\r\n\r\n"]
)
def test_chunks(running: Stack, key: bytes, chunks: bytes) -> None:
    statuses(talk(running, request(key, chunks, CLOSE, b"Transfer-Encoding: chunked"), close=True))


def test_half_a_body(running: Stack, key: bytes) -> None:
    for n in range(0, len(HELLO), 7):
        statuses(talk(running, request(key, HELLO, CLOSE)[: -n or None], close=True))
    whole = request(key)
    for n in range(1, len(whole), 11):  # and leave without closing properly
        with socket.create_connection(("127.0.0.1", running.settings.port)) as sock:
            sock.sendall(whole[:n])


def test_many_at_once_on_one_connection(running: Stack, key: bytes) -> None:
    data = request(key) * 20 + request(key, message("Hello", stream=True)) + request(key, HELLO, CLOSE)
    answer = talk(running, data)
    assert statuses(answer) == [200] * 22


def test_slow_clients_hold_up_nobody(running: Stack, key: bytes) -> None:
    socks = [socket.create_connection(("127.0.0.1", running.settings.port), timeout=LONGEST_S) for _ in range(100)]
    data = request(key, HELLO, CLOSE)
    start, last = data[:-1], data[-1:]
    step = len(start) // 20
    for at in range(0, len(start), step):
        for sock in socks:
            sock.sendall(start[at : at + step])
        assert statuses(talk(running, request(key, HELLO, CLOSE))) == [200]
    for sock in socks:  # one after another: the queue may be shorter than a hundred
        with sock:
            sock.sendall(last)
            got = b""
            while piece := sock.recv(65536):
                got += piece
            assert statuses(got) == [200]


def test_clients_that_leave(running: Stack, key: bytes) -> None:
    for stream in (True, False):
        for wait in (0, 0.002, 0.01, 0.03):
            for _ in range(10):
                with socket.create_connection(("127.0.0.1", running.settings.port)) as sock:
                    sock.sendall(request(key, message("Hello", stream=stream)))
                    time.sleep(wait)
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset
    with socket.create_connection(("127.0.0.1", running.settings.port), timeout=LONGEST_S) as sock:
        sock.sendall(request(key, message("Hello", stream=True)))
        assert sock.recv(300)


def test_a_client_that_never_reads_holds_up_nobody(running: Stack, key: bytes) -> None:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        sock.connect(("127.0.0.1", running.settings.port))
        sock.settimeout(2)
        logprobs = request(key, message("Hello", stream=True, logprobs=True, top_logprobs=20))
        sock.sendall(logprobs * 20)
        for _ in range(5):
            assert statuses(talk(running, request(key, HELLO, CLOSE))) == [200]


def test_nothing_typed_is_logged(running: Stack, key: bytes) -> None:
    secret = "Zyxophant-4711"
    bodies = (
        message(secret),
        message([{"type": secret, "text": secret}]),
        message("x", **{"model": secret}),
        b"{" + secret.encode(),
    )
    for body in bodies:
        statuses(talk(running, request(key, body, CLOSE)))
    assert secret not in running.log("serve")
    files = [p for p in Path(running.settings.home).rglob("*") if p.is_file() and secret.encode() in p.read_bytes()]
    assert files == []
