"""Starts the process that workers are forked from, and asks it for workers. Knows no text. Thread-safe."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from ingest.scrub.workers import wire
from ingest.scrub.workers.protocol import COMMAND, REPLY
from shoptalk.errors import ConfigurationError, ScrubberUnavailable

MODULE: Final = "ingest.scrub.workers.main"
LOAD_S: Final = 120.0  # the longest that loading may take, on a busy machine
REPLY_S: Final = 10.0  # the longest that a fork may take
LIBRARIES: Final = ("OMP", "OPENBLAS", "MKL", "BLIS")
ONE_THREAD: Final = {f"{name}_NUM_THREADS": "1" for name in LIBRARIES}  # a fork has one thread only


@dataclass(eq=False, slots=True)
class WorkerProcess:
    """A worker, as its template's owner sees it."""

    #: this process's end of the socket pair
    sock: socket.socket
    pid: int
    #: of the template that it was forked from
    generation: int


class Template:
    """The process that workers are forked from. It begins to load at once; a call for a worker waits until it has."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self.patterns = list(patterns)
        self._lock = threading.Lock()
        self._ready = self._closed = False
        self.generation = 0
        self._start()

    def open(self) -> None:
        """Wait until workers can be forked; raises ConfigurationError, or ScrubberUnavailable."""
        with self._lock:
            self._await_ready()

    def fork(self) -> WorkerProcess:
        """Return a new worker. Starts a template that died again; raises ScrubberUnavailable where that fails too."""
        return self._replace(0)[0]

    def replace(self, old: WorkerProcess) -> tuple[WorkerProcess, int]:
        """End a worker; return a new one, and the old one's exit status: minus a signal's number if one ended it."""
        old.sock.close()
        return self._replace(old.pid if old.generation == self.generation else 0)

    def discard(self, old: WorkerProcess) -> None:
        """End a worker without another in its place."""
        old.sock.close()
        with self._lock, contextlib.suppress(wire.Closed, OSError):
            if old.generation == self.generation and self._ready:
                self._command(old.pid, None)

    def close(self) -> None:
        """End the template, and with their sockets closed the workers too."""
        with self._lock:
            self._ready, self._closed = False, True
            self._finalizer()

    def _replace(self, pid: int) -> tuple[WorkerProcess, int]:
        with self._lock:
            for again in (False, True):
                self._await_ready()
                ours, theirs = socket.socketpair()
                try:
                    child, status = self._command(pid, theirs)
                except (wire.Closed, OSError):
                    ours.close()
                    self._start_again()
                    pid = 0
                    if again:
                        raise ScrubberUnavailable from None
                    continue
                finally:
                    theirs.close()
                return WorkerProcess(ours, child, self.generation), status
            raise AssertionError("the second attempt returns or raises")

    def _command(self, pid: int, theirs: socket.socket | None) -> tuple[int, int]:
        self._control.settimeout(REPLY_S)
        handles = [theirs.fileno()] if theirs else []
        socket.send_fds(self._control, [COMMAND.pack(pid, bool(handles))], handles)
        child, status = REPLY.unpack(wire.read(self._control, REPLY.size))
        return child, status

    def _start(self) -> None:
        self.generation += 1
        self._ready = False
        self._control, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-m", MODULE, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env={**os.environ, **ONE_THREAD},
            )
        self._process = process
        self._finalizer = weakref.finalize(self, _stop, self._control, process)
        with contextlib.suppress(OSError):  # where it died at once, waiting for it says so
            self._control.sendall(wire.encode({"patterns": self.patterns}))

    def _start_again(self) -> None:
        self._finalizer()
        self._start()

    def _await_ready(self) -> None:
        if self._closed:
            raise ScrubberUnavailable
        if self._ready:
            return
        self._control.settimeout(LOAD_S)
        try:
            said: dict[str, Any] = wire.decode(wire.receive(self._control)[0])
        except (wire.Closed, OSError):
            self._start_again()  # for the next call
            raise ScrubberUnavailable from None
        if "failed" in said:
            raise ConfigurationError(said["failed"])
        self._ready = True


def _stop(control: socket.socket, process: subprocess.Popen[bytes]) -> None:
    control.close()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
