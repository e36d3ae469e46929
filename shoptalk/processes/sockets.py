"""Finds free TCP ports on this machine. Another program may take a port between finding and using it."""

from __future__ import annotations

import socket
from typing import Final

from shoptalk.errors import ShoptalkError

LOOPBACK: Final = "127.0.0.1"


def free_port(wanted: int = 0) -> int:
    """Return the port `wanted` if nothing listens on it, else any free one. Raises ShoptalkError where none is free."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise ShoptalkError(f"no free port on {LOOPBACK}")


def is_free(port: int) -> bool:
    """Return whether a server could listen on this port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True
