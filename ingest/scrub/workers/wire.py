"""Frames over a socket pair: a header with the body's length and the time allowed for it, then JSON.

JSON is written in ASCII, so that lone surrogates pass too. Does not know what the messages mean.
"""

from __future__ import annotations

import json
import socket
import struct
from typing import Any, Final

from shoptalk.clock import MACHINE

HEADER: Final = struct.Struct(">Qd")  # bytes in the body, seconds of processor time allowed for the answer
CHUNK: Final = 1 << 20
FIRST: Final = 1 << 14


class Closed(Exception):
    """The other side is gone."""


def encode(value: Any, allowance_s: float = 0.0) -> bytes:
    """Return a frame with `value`, which JSON can hold."""
    body = json.dumps(value, separators=(",", ":")).encode()
    return HEADER.pack(len(body), allowance_s) + body


def decode(body: bytes) -> Any:
    """Return what `encode` was given, from a frame's body."""
    return json.loads(body)


def receive(sock: socket.socket, until: float | None = None) -> tuple[bytes, float]:
    """Return the next frame's body and allowance. The other side must not send a second one before it has an answer.

    Raises Closed at the end, TimeoutError where `until` (monotonic seconds) passes before. A short frame is read in one
    piece: system calls are a good part of what a short text costs.
    """
    data = bytearray(_piece(sock, FIRST, until))
    while len(data) < HEADER.size:
        data += _piece(sock, FIRST, until)
    length, allowance_s = HEADER.unpack_from(data)
    while (missing := HEADER.size + length - len(data)) > 0:
        data += _piece(sock, min(missing, CHUNK), until)
    return bytes(memoryview(data)[HEADER.size :]), allowance_s


def read(sock: socket.socket, count: int) -> bytes:
    """Return exactly `count` bytes; raise Closed at the end."""
    data = bytearray()
    while len(data) < count:
        data += _piece(sock, count - len(data), None)
    return bytes(data)


def _piece(sock: socket.socket, most: int, until: float | None) -> bytes:
    if until is not None:
        sock.settimeout(max(0.001, until - MACHINE.monotonic()))
    try:
        part = sock.recv(most)
    except ConnectionError:
        raise Closed from None
    if not part:
        raise Closed
    return part
