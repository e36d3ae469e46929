"""The process that workers are forked from: loads everything once, then forks one for each socket it receives.

Run as `python -m ingest.scrub.workers.main FD`, with its end of a socket pair. It scrubs nothing itself and has one
thread, so that a fork is whole. It and its workers end when the process that started it is gone: then their sockets
are closed. Signals from a terminal or a service manager are left to that process, which may still need them.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import socket
import sys
from typing import Final

from ingest.scrub.analyzer import Analyzer
from ingest.scrub.scrubber import PresidioScrubber
from ingest.scrub.workers import wire, worker
from ingest.scrub.workers.protocol import COMMAND, REPLY
from shoptalk.domain import Message
from shoptalk.errors import ShoptalkError

WARM: Final = (
    "Hi, I am Tomasz Zelinsky and my order ORD-2024-00123 has not come, write to jo@shop.example or 555-0134-998",
    "hi its farida from leeds, 22 alder rd, where is my parcel, tracking 1Z999AA10123456784",
    "The kettle arrived. It is broken. Can I return it before 12/11/2024?",
)


def main(handle: int) -> None:
    """Load, report that, and fork until the socket closes."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    gone = contextlib.suppress(wire.Closed, ConnectionError)  # whoever started this
    with socket.socket(fileno=handle) as control, gone:
        _serve(control)


def _serve(control: socket.socket) -> None:
    try:
        scrubber = _loaded(wire.decode(wire.receive(control)[0])["patterns"])
    except ShoptalkError as error:
        control.sendall(wire.encode({"failed": error.message}))
        return
    control.sendall(wire.encode({"ready": True}))
    _Forker(control, scrubber).run()


def _loaded(patterns: list[str]) -> PresidioScrubber:
    """Return a scrubber that has used each of its models; freeze memory so that forks share it as long as possible."""
    scrubber = PresidioScrubber(Analyzer(patterns))
    for text in WARM:
        scrubber.scrub([Message("assistant", "What is your name?"), Message("user", text)])
    gc.collect()
    gc.freeze()
    return scrubber


class _Forker:
    """Forks and ends workers."""

    def __init__(self, control: socket.socket, scrubber: PresidioScrubber) -> None:
        self._control, self._scrubber = control, scrubber
        self._alive: set[int] = set()

    def run(self) -> None:
        while (command := self._next()) is not None:
            pid, forks, handles = command
            status = self._end(pid) if pid in self._alive else 0
            child = 0
            if forks:
                with socket.socket(fileno=handles[0]) as theirs:
                    child = self._fork(theirs)
            self._control.sendall(REPLY.pack(child, status))

    def _next(self) -> tuple[int, bool, list[int]] | None:
        data, handles, _, _ = socket.recv_fds(self._control, COMMAND.size, 1)
        if not data:
            return None
        pid, forks = COMMAND.unpack(data)
        return pid, forks, handles

    def _end(self, pid: int) -> int:
        """End a worker; return its exit status, which is minus the signal's number where a signal ended it."""
        os.kill(pid, signal.SIGKILL)  # until it is waited for, no other process can have this number
        self._alive.remove(pid)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def _fork(self, theirs: socket.socket) -> int:
        pid = os.fork()
        if pid == 0:
            try:
                self._control.close()
                worker.serve(theirs, self._scrubber)
            finally:
                os._exit(0)
        self._alive.add(pid)
        return pid


if __name__ == "__main__":
    main(int(sys.argv[1]))
