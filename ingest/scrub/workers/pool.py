"""Scrubs in worker processes, each text within its deadline. Satisfies `shoptalk.ports.Scrubber`; thread-safe.

As many callers as the pool's `size` scrub at once. One worker more than that is always ready, so that the worker of a
text that was ended is replaced at once. A conversation goes to the worker that read it last, which remembers it, where
that is free. While a worker reads a text, this process keeps no more of it than the caller does anyway.
"""

from __future__ import annotations

import signal
import threading
import weakref
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from ingest.scrub.scrubbed import Scrubbed
from ingest.scrub.scrubber import NO_RECORD, VERSION
from ingest.scrub.workers import codec, wire
from ingest.scrub.workers.deadline import IMPATIENT, allowance
from ingest.scrub.workers.shared import acquire, release
from ingest.scrub.workers.template import WorkerProcess
from shoptalk.clock import MACHINE
from shoptalk.domain import Message
from shoptalk.errors import ScrubberUnavailable, ScrubbingFailed, ScrubbingTimedOut
from shoptalk.ports import CustomerRecord

SIZE: Final = 2
REMEMBERED: Final = 4096  # conversations whose worker is known
MOST_TOGETHER: Final = 20_000  # characters that are sent together: a text in them is ended soon enough
LONGEST_CONVERSATION: Final = 500_000  # characters
USED_UP: Final = -signal.SIGPROF


class _Ended(Exception):
    """The worker ended instead of answering; `late` where this process stopped waiting for it."""

    def __init__(self, late: bool) -> None:
        super().__init__()
        self.late = late


class ScrubberPool:
    """A pool of worker processes. Close it when done.

    `patience` is the wall-clock time that a text may take, as a multiple of its processor time.
    """

    version: Final[str] = VERSION

    def __init__(self, patterns: Sequence[str] = (), size: int = SIZE, patience: float = IMPATIENT) -> None:
        self._patterns = list(patterns)
        self._template = acquire(patterns)
        self._release = weakref.finalize(self, release, self._template)  # once, by `close` or when it is forgotten
        self._patience = patience
        self._size = size
        self._slots = threading.BoundedSemaphore(size)
        self._lock = threading.Lock()
        self._idle: list[WorkerProcess] = []  # always this list: it is emptied should the pool be forgotten unclosed
        weakref.finalize(self, _end, self._idle)
        self._last_worker: OrderedDict[int, int] = OrderedDict()  # hash of a conversation's beginning -> process id

    def start(self) -> None:
        """Wait until workers are ready, also after `close`. Where it is not called, the first call waits."""
        if not self._release.alive:
            self._template = acquire(self._patterns)
            self._release = weakref.finalize(self, release, self._template)
        self._template.open()
        with self._lock:
            missing = self._size + 1 - len(self._idle)
        for _ in range(missing):
            self._put_back(self._template.fork())

    def close(self) -> None:
        """End its workers, and what they were forked from where no other pool of this process needs that."""
        with self._lock:
            idle = list(self._idle)
            self._idle.clear()
        if self._release.alive:
            for process in idle:
                self._template.discard(process)
            self._release()

    def scrub(self, messages: Sequence[Message], record: CustomerRecord = NO_RECORD) -> Scrubbed:
        """Scrub a conversation, or raise ScrubbingFailed rather than let a text through that was not fully scanned.

        ScrubbingTimedOut, a subclass, says that the text was ended at its deadline.
        """
        made = self._scrub_one(messages, record, trusted=False)
        if isinstance(made, ScrubbingFailed):
            raise made
        return made

    def scrub_many(
        self,
        conversations: Sequence[Sequence[Message]],
        records: Sequence[CustomerRecord] = (),
        *,
        trusted: bool = False,
    ) -> list[Scrubbed | ScrubbingFailed]:
        """Scrub several conversations in less time than one by one. See `PresidioScrubber.scrub_many`.

        Where one of those that are read together is ended, each of them is read by itself.
        """
        every = list(records or [NO_RECORD] * len(conversations))
        made: list[Scrubbed | ScrubbingFailed] = []
        for part in _parts(conversations):
            made += self._scrub_part(conversations[part], every[part], trusted)
        return made

    def scrub_correction(self, history: Sequence[str], text: str) -> tuple[str, Mapping[str, int]]:
        """See `PresidioScrubber.scrub_correction`."""
        said = self._ask(
            {"do": "correct", "history": list(history), "text": text}, [*history, text], hash(tuple(history[:1]))
        )
        return said["text"], said["counts"]

    def remaining(self, *texts: str) -> Mapping[str, int]:
        """Return how many values the safety net still finds in scrubbed texts, by type; empty is good."""
        counts: Mapping[str, int] = self._ask({"do": "remaining", "texts": texts}, texts)["counts"]
        return counts

    def processor_seconds(self) -> float:
        """Return the processor time that the idle workers have used; for measurements."""
        with self._lock:
            idle = list(self._idle)
            self._idle.clear()
        seconds = [float(self._answer(each, {"do": "processor time"}, 1.0)["seconds"]) for each in idle]
        for each in idle:
            self._put_back(each)
        return sum(seconds)

    def _scrub_part(
        self, conversations: Sequence[Sequence[Message]], records: Sequence[CustomerRecord], trusted: bool
    ) -> list[Scrubbed | ScrubbingFailed]:
        if len(conversations) > 1:
            try:
                return self._read_together(conversations, records, trusted)
            except ScrubbingFailed:  # the processor time of all was used up, perhaps by one
                pass
        return [self._scrub_one(*each, trusted=trusted) for each in zip(conversations, records, strict=True)]

    def _scrub_one(
        self, messages: Sequence[Message], record: CustomerRecord, *, trusted: bool
    ) -> Scrubbed | ScrubbingFailed:
        if sum(len(each.content) for each in messages) > LONGEST_CONVERSATION:
            return ScrubbingFailed(f"the conversation is longer than {LONGEST_CONVERSATION} characters")
        try:
            return self._read_together([messages], [record], trusted)[0]
        except ScrubbingFailed as error:
            return error

    def _read_together(
        self, conversations: Sequence[Sequence[Message]], records: Sequence[CustomerRecord], trusted: bool
    ) -> list[Scrubbed | ScrubbingFailed]:
        texts = [said.content for each in conversations for said in each]
        known = [text for record in records for each in record.values() for text in _several(each)]
        key = hash(tuple(texts[:1])) if len(conversations) == 1 else None
        said = self._ask(codec.many(conversations, records, trusted), [*texts, *known], key)
        return [codec.read_outcome(each) for each in said]

    def _ask(self, request: Mapping[str, Any], texts: Iterable[str], key: int | None = None) -> Any:
        """Return a worker's answer.

        A worker that ends through no fault of the text is replaced, and another one asked, once.
        """
        if not self._release.alive:
            raise ScrubberUnavailable
        allowed = allowance(texts)
        for _ in range(2):
            with self._slots:
                process = self._take(key)
                try:
                    said = self._answer(process, request, allowed)
                except _Ended as ended:
                    late = ended.late
                except BaseException:
                    self._template.discard(process)  # in the middle of an answer
                    raise
                else:
                    self._put_back(process, key)
                    if isinstance(said, dict) and "failed" in said:
                        raise ScrubbingFailed(said["failed"])
                    return said
            new, status = self._template.replace(process)
            self._put_back(new)
            if late or status == USED_UP:
                raise ScrubbingTimedOut
        raise ScrubbingFailed("the scanning process ended")

    def _answer(self, process: WorkerProcess, request: Mapping[str, Any], allowed: float) -> Any:
        until = MACHINE.monotonic() + allowed * self._patience
        try:
            process.sock.settimeout(max(1.0, allowed * self._patience))
            process.sock.sendall(wire.encode(request, allowed))
            return wire.decode(wire.receive(process.sock, until)[0])
        except TimeoutError:
            raise _Ended(late=True) from None
        except (wire.Closed, ConnectionError):
            raise _Ended(late=False) from None

    def _take(self, key: int | None) -> WorkerProcess:
        """Take out the worker that knows the conversation, else the one that was busy last, else a new one."""
        with self._lock:
            stale = [each for each in self._idle if each.generation != self._template.generation]
            for process in stale:
                self._idle.remove(process)
                process.sock.close()
            wanted = self._last_worker.get(key) if key is not None else None
            for process in self._idle:
                if process.pid == wanted:
                    self._idle.remove(process)
                    return process
            if self._idle:
                return self._idle.pop()
        return self._template.fork()

    def _put_back(self, process: WorkerProcess, key: int | None = None) -> None:
        with self._lock:
            if process.generation == self._template.generation and len(self._idle) <= self._size:
                self._idle.append(process)
                if key is not None:
                    self._last_worker[key] = process.pid
                    self._last_worker.move_to_end(key)
                    if len(self._last_worker) > REMEMBERED:
                        self._last_worker.popitem(last=False)
                return
        self._template.discard(process)


def _end(idle: list[WorkerProcess]) -> None:
    """Close the sockets of workers, which ends them."""
    for process in idle:
        process.sock.close()
    idle.clear()


def _several(value: str | Sequence[str]) -> Sequence[str]:
    return [value] if isinstance(value, str) else value


def _parts(conversations: Sequence[Sequence[Message]]) -> Iterator[slice]:
    """Yield neighbours that are sent together."""
    start = length = 0
    for i, messages in enumerate(conversations):
        more = sum(len(said.content) for said in messages)
        if i > start and length + more > MOST_TOGETHER:
            yield slice(start, i)
            start, length = i, 0
        length += more
    if start < len(conversations):
        yield slice(start, len(conversations))
