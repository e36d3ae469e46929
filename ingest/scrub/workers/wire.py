"""Frames over a socket pair: a header with the body's length and the time allowed for it, then JSON.

Knows nothing of what is said. JSON is written in ASCII, so that lone surrogates pass too.
"""

from __future__ import annotations

import json
import socket
import struct
import time
from typing import Any, Final

HEADER: Final = struct.Struct(">Qd")  # bytes in the body, seconds of processor time allowed for the answer
CHUNK: Final = 1 << 20


class Closed(Exception):
    """The other side is gone."""


def encode(value: Any, allowance_s: float = 0.0) -> bytes:
    """A frame with `value`, which JSON can hold."""
    body = json.dumps(value, separators=(",", ":")).encode()
    return HEADER.pack(len(body), allowance_s) + body


def header(sock: socket.socket) -> tuple[int, float]:
    """The next frame's length and allowance; raises Closed where there is none."""
    length, allowance_s = HEADER.unpack(read(sock, HEADER.size))
    return length, allowance_s


def decode(body: bytes) -> Any:
    """What `encode` was given."""
    return json.loads(body)


def read(sock: socket.socket, count: int, until: float | None = None) -> bytes:
    """Exactly `count` bytes. Raises Closed at the end, TimeoutError where `until` (monotonic seconds) passes before."""
    parts: list[bytes] = []
    while count:
        if until is not None:
            sock.settimeout(max(0.001, until - time.monotonic()))
        try:
            part = sock.recv(min(count, CHUNK))
        except ConnectionError:
            raise Closed from None
        if not part:
            raise Closed
        parts.append(part)
        count -= len(part)
    return b"".join(parts)
