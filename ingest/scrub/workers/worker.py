"""A worker's loop: read a request, answer it, in the processor time it came with.

The kernel keeps the deadline: when the time is used up it ends the process (SIGPROF), whatever that is doing, inside a
pattern's C code too. Any other error ends the process as well, and only its type is printed, since the error itself may
quote a text.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
import time
from collections.abc import Mapping
from typing import Any, Final

from ingest.scrub.scrubber import PresidioScrubber
from ingest.scrub.workers import codec, wire
from shoptalk.errors import ScrubbingFailed

MEMORY: Final = 1 << 30  # bytes that a worker may take beyond what it was forked with


def serve(sock: socket.socket, scrubber: PresidioScrubber) -> None:
    """Answer until the other side is gone."""
    _limit_memory()
    try:
        while True:
            body, allowance_s = wire.receive(sock)
            signal.setitimer(signal.ITIMER_PROF, allowance_s)
            frame = wire.encode(_answer(scrubber, wire.decode(body)))
            signal.setitimer(signal.ITIMER_PROF, 0.0)
            sock.sendall(frame)
    except (wire.Closed, ConnectionError):
        return
    except Exception as error:  # noqa: BLE001 - the pool notices that this process ends; the message may hold a text
        os.write(2, f"shoptalk: a scrubbing process ended: {type(error).__name__}\n".encode())


def _limit_memory() -> None:
    """Bound the memory of this process; a `MemoryError` is a failed scrubbing like any other."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold texts
    try:
        with open("/proc/self/statm") as sizes:
            used = int(sizes.read().split()[0]) * resource.getpagesize()
    except OSError:  # not Linux
        return
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    wanted = used + MEMORY
    if most == resource.RLIM_INFINITY or wanted < most:
        resource.setrlimit(resource.RLIMIT_AS, (wanted, most))


def _answer(scrubber: PresidioScrubber, request: Mapping[str, Any]) -> Any:
    try:
        return _done(scrubber, request)
    except ScrubbingFailed as error:
        return {"failed": error.message}


def _done(scrubber: PresidioScrubber, request: Mapping[str, Any]) -> Any:
    match request["do"]:
        case "many":
            conversations, records, trusted = codec.read_many(request)
            return [codec.outcome(each) for each in scrubber.scrub_many(conversations, records, trusted=trusted)]
        case "correct":
            text, counts = scrubber.scrub_correction(request["history"], request["text"])
            return {"text": text, "counts": dict(counts)}
        case "remaining":
            return {"counts": dict(scrubber.remaining(*request["texts"]))}
        case "processor time":
            return {"seconds": time.process_time()}
    raise ValueError("unknown request")
