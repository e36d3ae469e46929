"""The default engine: one thread owns the model and answers all requests in one continuous batch.

A turn computes a part of the prompts that are new, then one token for every row. Rows join and leave between turns;
each computes with its own adapter, so adapters come and go while others answer. Knows tokens and slots; not who asked,
nor what is recorded.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
import threading
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, TypeVar

import structlog
import torch

from chatbot.engine.compute.autotune import LEAST, fastest_threads, unnoticed_chunk
from chatbot.engine.compute.forward import Forward, Segment, Token, padded
from chatbot.engine.compute.kv_cache import KeyValues
from chatbot.engine.compute.lora import Adapter, read_adapter
from chatbot.engine.compute.pack import Copies
from chatbot.engine.compute.sampling import Choice, Sampler
from chatbot.engine.compute.score import negative_log_likelihoods
from chatbot.engine.compute.threads import Team
from chatbot.engine.compute.weights import load_shape, load_weights
from chatbot.engine.fair_queue import Waiting
from chatbot.engine.prefix_cache import PrefixCache
from chatbot.engine.protocol import LANES, FinishReason, GenerationRequest, Lane, OnEvent, Priority, QueueLimits
from chatbot.engine.sequence import Row
from chatbot.engine.slots import Slots
from shoptalk.domain import AdapterRef, Message
from shoptalk.errors import EngineStopped, InvalidInput, Overloaded
from shoptalk.models.adapterfile import AdapterFiles
from shoptalk.models.basemodel import BaseModel, ChatTokenizer, load_tokenizer

T = TypeVar("T")
log = structlog.get_logger(__name__)
SWITCH_S = 0.0005  # how long the engine's thread waits for the interpreter that another thread keeps busy
PACE_SHARE = 0.2  # of the newest request in the pace
AHEAD = 128  # positions of a reply that are reserved with its prompt


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """How much the engine takes on."""

    max_batch: int
    max_context: int
    max_queue: int
    slots: int
    max_rank: int
    threads: int  # 0: as many as turn out fastest
    background: bool = False  # run only when nobody else wants the processor
    prefill_chunk: int = 128  # tokens of prompts computed in one pass, at most
    prefix_bytes: int = 2**29  # of finished requests' keys and values
    visitors: float = 0.5  # their part of batch and queue
    visitor_wait_s: float = 30.0  # a visitor who would wait longer is refused
    kernels: Path | None = None  # folder for compiled kernels

    @property
    def queue(self) -> QueueLimits:
        return QueueLimits(self.max_batch, self.max_queue, self.visitors, self.visitor_wait_s)


class EmbeddedEngine:
    """See `chatbot.engine.protocol.Engine`."""

    def __init__(self, base: BaseModel, dtype: torch.dtype, limits: EngineLimits) -> None:
        self._base, self._dtype, self._limits = base, dtype, limits
        self._lock = threading.Condition()
        self._queue = limits.queue
        self._waiting: Waiting[Row] = Waiting(limits.max_batch, self._queue.visitor_rows)
        self._tasks: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._rows: list[Row] = []
        self._ended: list[Row] = []  # displaced, and not told so yet
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._slots: Slots[Adapter] = Slots(limits.slots)
        self._shape = load_shape(base)
        self._tokenizer = ChatTokenizer(load_tokenizer(base))
        self._eos = self._tokenizer.eos
        self._beginning = lru_cache(16)(lambda text: self._tokenizer.render([Message("system", text)]))
        self._chunk = limits.prefill_chunk
        self._keys_alone = False  # in the last pass over prompts
        self._pace: dict[Lane, float] = dict.fromkeys(LANES, 1.0)  # seconds a request takes in the batch, of late

    @property
    def fingerprint(self) -> str:
        return f"{self._base.fingerprint}-{str(self._dtype).removeprefix('torch.')}"

    @property
    def base_sha256(self) -> str:
        return self._base.sha256

    def start(self) -> None:
        """Load the model in the engine's thread; returns when it can answer."""
        ready: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, args=(ready,), name="engine", daemon=True)
        self._thread.start()
        ready.result()

    def stop(self) -> None:
        with self._lock:
            self._stopping = True
            self._lock.notify()
        if self._thread is not None:
            self._thread.join()

    def healthy(self) -> bool:
        return self._thread is not None and self._thread.is_alive() and not self._stopping

    def submit(self, request: GenerationRequest, on_event: OnEvent) -> None:
        prompt = self._tokenizer.render(request.messages)
        if len(prompt) >= self._limits.max_context:
            raise InvalidInput(
                f"This model's maximum context length is {self._limits.max_context} tokens; "
                f"your messages have {len(prompt)}. Shorten them.",
                field="messages",
                code="context_length_exceeded",
            )
        common = _same(prompt, self._beginning(request.common)) if request.common else 0
        with self._lock:
            if not self.healthy():
                raise EngineStopped
            wait, gives_way = self._room(request.lane, request.turns, request.priority)
            if wait is not None:
                raise Overloaded(retry_after=wait)
            adapter = self._slots.hold(request.adapter)
            if gives_way is not None:
                gives_way.displaced = True
                self._waiting.remove(gives_way)
                self._ended.append(gives_way)
            self._waiting.push(Row(request, prompt, adapter, on_event, self._tokenizer, common))
            self._lock.notify()

    def crowded(self, lane: Lane, group: str, ahead: int) -> float | None:
        with self._lock:
            return self._room(lane, group, "normal", ahead)[0]

    def _room(self, lane: Lane, group: str, priority: Priority, ahead: int = 0) -> tuple[float | None, Row | None]:
        """(Seconds until there may be room, None where there is; who gives its place up)."""
        waiting = self._waiting.count(priority) + ahead
        visitors = self._waiting.count(priority, "visitors") + (ahead if lane == "visitors" else 0)
        wait = self._queue.refuses(lane, waiting, visitors, self._takes(lane))
        if wait is None or lane == "keys":
            return wait, None
        gives_way = self._waiting.displaced_by(lane, group, priority)
        return (None if gives_way else wait), gives_way

    def _takes(self, lane: Lane) -> float:
        """Seconds a request of a lane takes in the batch: of late, or as long as those there are under way already."""
        now = time.perf_counter()
        ages = [now - row.admitted for row in self._rows if row.lane == lane]
        return max(self._pace[lane], sum(ages) / len(ages) if ages else 0.0)

    def cancel(self, request_id: str) -> None:
        with self._lock:
            for row in (*self._waiting, *self._rows):
                if row.request.id == request_id:
                    row.cancelled = True
            self._lock.notify()

    def load(self, adapter: AdapterRef, files: AdapterFiles) -> None:
        if not self.healthy():
            raise EngineStopped
        if not adapter.is_base and adapter not in self._slots:
            with self._team.alone():  # on the caller's thread, while the engine's goes on
                read = read_adapter(files, self._shape, self._dtype, self._limits.max_rank, self._copies)
            self._slots.put(adapter, read)

    def unload(self, adapter: AdapterRef) -> bool:
        return self._slots.drop(adapter)

    def resident(self) -> Sequence[AdapterRef]:
        return self._slots.resident()

    def score(self, adapter: AdapterRef, messages: Sequence[Message], replies: Sequence[str]) -> list[float]:
        """For each reply the mean negative log-likelihood of it and its end, in nats per token, for evaluation.

        Computed by the same model and adapters that answer, between turns, in one pass over a prompt they share. Of
        what is too long for the context the oldest part of the prompt goes, as in training. Raises NotFound.
        """
        most = self._limits.max_context - 1
        wanted = [[*self._tokenizer.encode(reply), self._tokenizer.eos][:most] for reply in replies]
        room = self._limits.max_context - max(map(len, wanted))
        prompt = self._tokenizer.render(messages)[-room:]
        held = self._slots.hold(adapter)
        try:
            return self._between_turns(lambda: negative_log_likelihoods(self._forward, held, prompt, wanted))
        finally:
            self._slots.release(adapter)

    def figures(self) -> Mapping[str, float]:
        """Also the bytes of the prefix cache."""
        with self._lock:
            cached = self._prefixes.nbytes if self.healthy() else 0
            return {
                "rows": len(self._rows),
                "waiting": self._waiting.count("normal"),
                "waiting_visitors": self._waiting.count("normal", "visitors"),
                "rows_visitors": self._held().get("visitors", 0),
                "held": self._slots.held(),
                "prefix_bytes": cached,
            }

    def forget(self) -> None:
        """Nothing to forget where it does not run."""
        with contextlib.suppress(EngineStopped):
            self._between_turns(lambda: self._prefixes.clear())  # noqa: PLW0108 - there only once it runs

    def _between_turns(self, task: Callable[[], T]) -> T:
        done: Future[T] = Future()
        with self._lock:
            if not self.healthy():
                raise EngineStopped
            self._tasks.append((task, done))
            self._lock.notify()
        return done.result()

    # From here on: the engine's thread.

    def _run(self, ready: Future[None]) -> None:
        try:
            self._prepare()
        except BaseException as error:
            ready.set_exception(error)
            raise
        ready.set_result(None)
        try:
            with torch.inference_mode():
                while self._turn():
                    pass
        finally:
            self._stopping = True
            self._abandon()

    def _prepare(self) -> None:
        limits = self._limits
        sys.setswitchinterval(SWITCH_S)
        if limits.background and sys.platform == "linux":
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))  # this thread and those it starts
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        team = self._team = Team(limits.threads or cores, limits.kernels)
        torch.set_num_threads(team.threads)
        torch.set_flush_denormal(True)
        weights = load_weights(self._base, self._dtype, limits.max_context)
        self._forward = Forward(weights, team)
        self._sampler = Sampler(team, weights.head_weight, limits.max_batch)
        self._copies = Copies(team, self._dtype)
        self._prefixes = PrefixCache(limits.prefix_bytes)
        with torch.inference_mode():
            if not limits.threads and not limits.background:
                team.threads = fastest_threads(self._forward, team, limits.max_batch)
                torch.set_num_threads(team.threads)
            self._forward.warm(limits.max_batch, limits.prefill_chunk)
            if not limits.background:
                self._chunk = unnoticed_chunk(self._forward, limits.prefill_chunk)

    def _turn(self) -> bool:
        """Admit, compute a part of the prompts, compute one token for all rows."""
        with self._lock:
            while not (self._waiting or self._rows or self._ended or self._tasks or self._stopping):
                self._lock.wait()
            if self._stopping:
                return False
            tasks, self._tasks = self._tasks, deque()
            for row in self._waiting:
                row.displaced |= row.lane == "visitors" and row.waited_s > self._queue.visitor_wait_s
            over = [row for row in self._waiting if row.ends_early]
            for row in over:
                self._waiting.remove(row)
            over, self._ended = [*over, *self._ended], []
            self._admit()
        for task, done in tasks:
            try:
                done.set_result(task())
            except Exception as error:  # noqa: BLE001 - handed to whoever waits for the task
                done.set_exception(error)
        for row in (*over, *self._rows):
            if reason := row.ends_early:
                self._leave(row, reason)
        self._prefill()
        if rows := [row for row in self._rows if row.decoding and row.reply]:
            self._attempt(lambda: self._decode(rows), rows)
        return True

    def _admit(self) -> None:
        """Fill the batch; where somebody waits, a row of low priority gives its place up and goes on later."""
        if (ready := self._waiting.ready(self._held())) and len(self._rows) >= self._limits.max_batch:
            low = [row for row in self._rows if row.priority == "low"]
            for row in low[:ready]:
                self._rows.remove(row)
                self._waiting.push(row, first=True)
        while len(self._rows) < self._limits.max_batch:
            held = self._held()
            if not (self._waiting.ready(held) or self._waiting.ready(held, "low")):
                return
            row = self._waiting.pop(held)
            row.admitted = row.admitted or time.perf_counter()
            self._rows.append(row)

    def _held(self) -> Counter[Lane]:
        """How many rows each lane has."""
        return Counter(row.lane for row in self._rows)

    def _prefill(self) -> None:
        """Compute prompts, oldest request first, up to the chunk; those that are whole get their first token.

        Those of the lane "keys" go first. While it has rows, visitors' prompts are computed every other time only, so
        that no visitor's long prompt holds them up.
        """
        self._keys_alone = not self._keys_alone and any(row.lane == "keys" for row in self._rows)
        lanes = ("keys",) if self._keys_alone else LANES
        prompts = [row for lane in lanes for row in self._rows if row.lane == lane and not row.decoding]
        rows, segments, used = [], [], 0
        for row in prompts:
            alone = row.sampling.seed is not None  # who names a seed gets the same reply again: always computed alike
            most = self._limits.prefill_chunk if alone else self._budget(row.lane) - used
            segment = self._attempt(partial(self._segment, row, most), [row])
            if segment is not None and alone:
                self._attempt(partial(self._compute, [row], [segment]), [row])
            elif segment is not None:
                rows.append(row)
                segments.append(segment)
            used += padded(len(segment.ids)) if segment is not None else 0
        if rows:
            self._attempt(lambda: self._compute(rows, segments), rows)

    def _budget(self, lane: Lane) -> int:
        """Tokens of a lane's prompts that are computed in one pass.

        For keys as many as nobody notices where rows of keys wait for their next token, half of it where most of the
        batch does; visitors' rows hold no key's prompt up. For visitors always the half of that, since a key's request
        may come at any time.
        """
        decoding = sum(row.decoding for row in self._rows if row.lane == "keys")
        budget = self._chunk if decoding or lane == "visitors" else self._limits.prefill_chunk
        half = lane == "visitors" or 2 * decoding > self._limits.max_batch
        return max(min(budget, LEAST), budget // 2) if half else budget

    def _segment(self, row: Row, most: int) -> Segment | None:
        """The next of a prompt, up to `most` tokens."""
        if row.store is None:
            positions = min(self._limits.max_context, len(row.prompt) + min(row.sampling.max_tokens, AHEAD))
            seeded = row.sampling.seed is not None
            found = None if seeded else self._prefixes.take(row.key, row.client, row.prompt, positions, row.common)
            row.store, row.computed = found or (KeyValues(self._shape, self._dtype, positions), 0)
            row.cached = row.computed
        ids = row.prompt[row.computed : row.computed + max(0, most)]
        return Segment(ids, row.store, row.computed, row.adapter) if ids else None

    def _compute(self, rows: list[Row], segments: list[Segment]) -> None:
        states = self._forward.prefill(segments)
        whole, last = [], []
        for row, segment, hidden in zip(rows, segments, states, strict=True):
            row.computed += len(segment.ids)
            if row.decoding:
                whole.append(row)
                last.append(hidden[-1:])
        if whole:
            self._accept(whole, torch.cat(last))

    def _decode(self, rows: list[Row]) -> None:
        tokens = []
        for row in rows:
            assert row.store is not None
            row.store.reserve(row.computed + 1, row.computed)
            tokens.append(Token(row.reply[-1], row.store, row.computed, row.adapter))
        hidden = self._forward.decode(tokens)
        for row in rows:
            row.computed += 1
        self._accept(rows, hidden)

    def _accept(self, rows: list[Row], hidden: torch.Tensor) -> None:
        """Choose each row's next token."""
        choices = self._sampler.choose(
            hidden,
            self._forward.logits(hidden),
            [row.sampling for row in rows],
            [row.generator for row in rows],
            [row.banned(self._eos) for row in rows],
        )
        for row, choice in zip(rows, choices, strict=True):
            self._attempt(partial(self._take, row, choice), [row])

    def _take(self, row: Row, choice: Choice) -> None:
        if not math.isfinite(choice.logprob):
            raise ArithmeticError("the model's output is not finite")
        reason = row.take(choice.token, choice.logprob, choice.top, self._eos)
        if reason is None and len(row.prompt) + len(row.reply) >= self._limits.max_context:
            reason = "length"
        if reason is not None:
            self._leave(row, reason)

    def _attempt(self, work: Callable[[], T], rows: list[Row]) -> T | None:
        """An error ends the requests it concerns, not the engine."""
        try:
            return work()
        except Exception as error:  # noqa: BLE001 - told to the requests it concerns, and logged without their text
            where = traceback.format_tb(error.__traceback__)[-1].strip()
            log.error("generation failed", error=type(error).__name__, where=where)
            for row in rows:
                if not row.finished:
                    row.store = None  # what it holds may be half done
                    self._leave(row, "error", "the model could not answer this")
            return None

    def _leave(self, row: Row, reason: FinishReason, problem: str | None = None) -> None:
        """Every way out: the row leaves the batch, its keys and values go to the cache, its slot is let go."""
        with self._lock:
            if row in self._rows:
                self._rows.remove(row)
        if row.store is not None:
            stored = [*row.prompt, *row.reply][: row.computed]
            self._prefixes.put(row.key, row.client, stored, min(len(row.prompt), row.computed), row.store)
            row.store = None
        if row.admitted:
            pace = self._pace[row.lane]
            self._pace[row.lane] += PACE_SHARE * (time.perf_counter() - row.admitted - pace)
        try:
            row.finish(reason, problem)
        except Exception as error:  # noqa: BLE001 - whoever listens is broken; the others must not suffer
            log.error("the end of a reply was not taken", error=type(error).__name__)
        finally:
            self._slots.release(row.request.adapter)

    def _abandon(self) -> None:
        """The thread ends: nobody is left waiting."""
        with self._lock:
            rows = [*self._rows, *self._waiting, *self._ended]
            self._rows, self._ended, self._waiting = [], [], Waiting()
            tasks, self._tasks = self._tasks, deque()
        for _, done in tasks:
            done.set_exception(EngineStopped())
        for row in rows:
            row.store = None
            self._leave(row, "error", "the engine was stopped")


def _same(a: Sequence[int], b: Sequence[int]) -> int:
    """Length of the longest common prefix."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
