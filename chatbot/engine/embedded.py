"""The default engine: one thread owns the model and answers all requests in one continuous batch.

A request joins after its prefill and leaves when done; each row computes with its own adapter through the slot
bank, so adapters come and go while others answer. Knows tokens and slots; not who asked, nor what is recorded.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

import structlog
import torch

from chatbot.engine.cache import BatchCache
from chatbot.engine.lora import SlotBank
from chatbot.engine.protocol import (
    Delta,
    Finished,
    FinishReason,
    GenerationRequest,
    OnEvent,
    Sampling,
    TokenLogprob,
)
from chatbot.engine.sampling import Choice, choose, generator_for
from chatbot.engine.text import TextStream
from shoptalk.adapterfile import AdapterFiles
from shoptalk.basemodel import BaseModel, ChatTokenizer, load_model, load_tokenizer
from shoptalk.domain import AdapterRef, Message
from shoptalk.errors import Conflict, EngineStopped, InvalidInput, NoFreeSlot, NotFound, Overloaded

T = TypeVar("T")
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """How much the engine takes on."""

    max_batch: int
    max_context: int
    max_queue: int
    slots: int
    max_rank: int
    threads: int  # 0: as many as there are cores
    background: bool = False  # run only when nobody else wants the processor


@dataclass(slots=True)
class Row:
    """A request on its way through the batch."""

    id: str
    prompt: list[int]
    slot: int | None
    sampling: Sampling
    on_event: OnEvent
    stream: TextStream
    generator: torch.Generator | None
    submitted: float
    first: float = 0.0
    last: int = -1  # the newest token, not yet in the cache
    generated: int = 0
    logprobs: float = 0.0
    cancelled: bool = False
    finished: bool = False

    @property
    def position(self) -> int:
        """Where the newest token goes in the cache."""
        return len(self.prompt) + self.generated - 1


@dataclass(slots=True)
class Slots:
    """Which adapter is in which slot, and how many requests hold it. Guarded by the engine's lock."""

    adapter: list[AdapterRef | None]
    holders: list[int] = field(default_factory=list)
    loading: set[int] = field(default_factory=set)

    def of(self, ref: AdapterRef) -> int | None:
        return next((i for i, a in enumerate(self.adapter) if a == ref and i not in self.loading), None)


class EmbeddedEngine:
    """See `chatbot.engine.protocol.Engine`."""

    def __init__(self, base: BaseModel, dtype: torch.dtype, limits: EngineLimits) -> None:
        self._base, self._dtype, self._limits = base, dtype, limits
        self._lock = threading.Condition()
        self._one_load = threading.Lock()
        self._waiting: deque[Row] = deque()
        self._tasks: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._rows: list[Row] = []
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._slots = Slots([None] * limits.slots, [0] * limits.slots)
        self._tokenizer = ChatTokenizer(load_tokenizer(base))

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
        room = self._limits.max_context - len(prompt)
        if room < 1:
            raise InvalidInput(
                f"This model's maximum context length is {self._limits.max_context} tokens; "
                f"your messages have {len(prompt)}. Shorten them.",
                field="messages",
                code="context_length_exceeded",
            )
        with self._lock:
            if not self.healthy():
                raise EngineStopped
            if len(self._waiting) >= self._limits.max_queue:
                raise Overloaded(retry_after=1.0)
            slot = None if request.adapter.is_base else self._slots.of(request.adapter)
            if slot is None and not request.adapter.is_base:
                raise NotFound(f"adapter {request.adapter} is not resident")
            if slot is not None:
                self._slots.holders[slot] += 1
            row = Row(
                request.id, prompt, slot, request.sampling, on_event,
                TextStream(self._tokenizer, request.sampling.stop), generator_for(request.sampling),
                time.perf_counter(),
            )  # fmt: skip
            self._waiting.append(row)
            self._lock.notify()

    def cancel(self, request_id: str) -> None:
        with self._lock:
            for row in (*self._waiting, *self._rows):
                if row.id == request_id:
                    row.cancelled = True
            self._lock.notify()

    def load(self, adapter: AdapterRef, files: AdapterFiles) -> None:
        if adapter.is_base:
            return
        scaling, weights = self._bank.read(files)  # verified and parsed on the caller's thread
        with self._one_load:  # so that no adapter takes two slots
            with self._lock:
                if self._slots.of(adapter) is not None:
                    return
                free = next((i for i, a in enumerate(self._slots.adapter) if a is None), None)
                if free is None:
                    raise NoFreeSlot(f"all {self._limits.slots} adapter slots are taken (SHOPTALK_ADAPTER_SLOTS)")
                self._slots.adapter[free] = adapter
                self._slots.loading.add(free)
            filled = False
            try:
                self._between_steps(lambda: self._bank.fill(free, scaling, weights))
                filled = True
            finally:
                with self._lock:
                    self._slots.loading.discard(free)
                    if not filled:
                        self._slots.adapter[free] = None

    def unload(self, adapter: AdapterRef) -> bool:
        with self._lock:
            slot = self._slots.of(adapter)
            if slot is None:
                return True
            if self._slots.holders[slot]:
                return False
            self._slots.adapter[slot] = None
            return True

    def resident(self) -> Sequence[AdapterRef]:
        with self._lock:
            return [a for i, a in enumerate(self._slots.adapter) if a is not None and i not in self._slots.loading]

    def score(self, adapter: AdapterRef, messages: Sequence[Message], replies: Sequence[str]) -> list[float]:
        """For each reply the mean negative log-likelihood of it and its end, in nats per token, for evaluation.

        Computed by the same model and slots that answer, between steps, in one pass over a prompt they share. Of
        what is too long for the context the oldest part of the prompt goes, as in training. Raises NotFound.
        """
        most = self._limits.max_context - 1
        wanted = [[*self._tokenizer.encode(reply), self._tokenizer.eos][:most] for reply in replies]
        room = self._limits.max_context - max(map(len, wanted))
        prompt = self._tokenizer.render(messages)[-room:]
        with self._lock:
            slot = None if adapter.is_base else self._slots.of(adapter)
            if slot is None and not adapter.is_base:
                raise NotFound(f"adapter {adapter} is not resident")
        return self._between_steps(lambda: self._nll(slot, prompt, wanted))

    def _between_steps(self, task: Callable[[], T]) -> T:
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
            if self._limits.background and sys.platform == "linux":
                os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))  # this thread and those it starts
            torch.set_num_threads(self._limits.threads or os.cpu_count() or 1)
            self._model = load_model(self._base, self._dtype)
            self._bank = SlotBank(self._model, self._limits.slots, self._limits.max_rank)
            self._cache = BatchCache(self._model.config, self._limits.max_batch, self._limits.max_context, self._dtype)
            self._eos = self._tokenizer.eos
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

    def _turn(self) -> bool:
        """One round: hand out what is due, admit at most one request, compute one token for all rows."""
        with self._lock:
            while not (self._waiting or self._rows or self._tasks or self._stopping):
                self._lock.wait()
            if self._stopping:
                return False
            tasks, self._tasks = self._tasks, deque()
            row = self._waiting.popleft() if self._waiting and len(self._rows) < self._limits.max_batch else None
        for task, done in tasks:
            try:
                done.set_result(task())
            except Exception as error:  # noqa: BLE001 - handed to whoever waits for the task
                done.set_exception(error)
        for gone in [r for r in self._rows if r.cancelled]:
            self._leave(gone, "cancelled")
        if row is not None:
            self._attempt(lambda: self._join(row), [row])
        if self._rows:
            self._attempt(self._step, list(self._rows))
        return True

    def _attempt(self, work: Callable[[], None], rows: list[Row]) -> None:
        """An error ends the requests it concerns, not the engine."""
        try:
            work()
        except Exception as error:  # noqa: BLE001 - told to the requests it concerns, and logged without their text
            where = traceback.format_tb(error.__traceback__)[-1].strip()
            log.error("generation failed", error=type(error).__name__, where=where)
            for row in rows:
                if row in self._rows:
                    self._rows.remove(row)
                if not row.finished:
                    self._finish(row, "error", "the model could not answer this")

    def _join(self, row: Row) -> None:
        if row.cancelled:
            self._finish(row, "cancelled")
            return
        self._rows.append(row)
        self._cache.prefill(len(self._rows) - 1, 0, len(row.prompt))
        n = len(row.prompt)
        mask = torch.ones(n, n, dtype=torch.bool).tril_()[None, None]
        logits = self._forward([row], torch.tensor([row.prompt]), torch.arange(n)[None], mask)
        self._accept([row], logits)

    def _step(self) -> None:
        rows = list(self._rows)
        positions = torch.tensor([r.position for r in rows])
        self._cache.decode(positions)
        reach = torch.arange(int(positions.max()) + 1)
        mask = (reach[None] <= positions[:, None])[:, None, None]
        logits = self._forward(rows, torch.tensor([[r.last] for r in rows]), positions[:, None], mask)
        self._accept(rows, logits)

    def _forward(
        self, rows: list[Row], tokens: torch.Tensor, positions: torch.Tensor, mask: torch.Tensor
    ) -> torch.Tensor:
        self._bank.route([r.slot for r in rows])
        hidden = self._model.model(
            input_ids=tokens, position_ids=positions, attention_mask=mask, past_key_values=self._cache, use_cache=True
        ).last_hidden_state[:, -1]
        logits: torch.Tensor = self._model.lm_head(hidden)
        return logits

    def _nll(self, slot: int | None, prompt: list[int], replies: list[list[int]]) -> list[float]:
        """One row: the prompt, then each reply, which sees the prompt and itself and stands where it alone would."""
        n = len(prompt)
        ids, places, owners = list(prompt), list(range(n)), [-1] * n
        read: list[list[int]] = []  # where each reply's tokens are foretold
        for i, reply in enumerate(replies):
            read.append([n - 1, *range(len(ids), len(ids) + len(reply) - 1)])
            ids += reply
            places += range(n, n + len(reply))
            owners += [i] * len(reply)
        owner = torch.tensor(owners)
        mask = torch.ones(len(ids), len(ids), dtype=torch.bool).tril_()
        mask &= (owner[None] == -1) | (owner[None] == owner[:, None])
        self._bank.route([slot])
        hidden = self._model.model(
            input_ids=torch.tensor([ids]), position_ids=torch.tensor([places]), attention_mask=mask[None, None],
            use_cache=False,
        ).last_hidden_state[0]  # fmt: skip
        return [
            float(torch.nn.functional.cross_entropy(self._model.lm_head(hidden[at]).float(), torch.tensor(reply)))
            for at, reply in zip(read, replies, strict=True)
        ]

    def _accept(self, rows: list[Row], logits: torch.Tensor) -> None:
        banned = [self._eos if r.sampling.ignore_eos or r.generated < r.sampling.min_tokens else None for r in rows]
        choices = choose(logits, [r.sampling for r in rows], [r.generator for r in rows], banned)
        for row, choice in zip(rows, choices, strict=True):
            self._take(row, choice)

    def _take(self, row: Row, choice: Choice) -> None:
        if not row.generated:
            row.first = time.perf_counter()
        row.last = choice.token
        row.generated += 1
        row.logprobs += choice.logprob
        if choice.token == self._eos:
            self._leave(row, "stop")
            return
        text = row.stream.feed(choice.token)
        details = (self._detail(choice),) if row.sampling.logprobs is not None else ()
        if text or details:
            row.on_event(Delta(text, details))
        if row.stream.stopped:
            self._leave(row, "stop")
        elif row.generated >= row.sampling.max_tokens or row.position + 1 >= self._limits.max_context:
            self._leave(row, "length")

    def _detail(self, choice: Choice) -> TokenLogprob:
        top = tuple((self._tokenizer.decode([i]), p) for i, p in choice.top)
        return TokenLogprob(self._tokenizer.decode([choice.token]), choice.logprob, top)

    def _leave(self, row: Row, reason: FinishReason) -> None:
        """Take a row out of the batch; the last row moves into its place."""
        index, last = self._rows.index(row), len(self._rows) - 1
        if index != last:
            moved = self._rows[last]
            self._cache.move(last, index, moved.position + 1)
            self._rows[index] = moved
        self._rows.pop()
        self._finish(row, reason)

    def _finish(self, row: Row, reason: FinishReason, problem: str | None = None) -> None:
        row.finished = True
        if rest := row.stream.flush():
            row.on_event(Delta(rest))
        ended = time.perf_counter()
        row.on_event(
            Finished(
                reason, row.stream.text, len(row.prompt), row.generated,
                1000 * ((row.first or ended) - row.submitted), 1000 * (ended - row.submitted),
                row.logprobs / max(1, row.generated), problem,
            )
        )  # fmt: skip
        if row.slot is not None:
            with self._lock:
                self._slots.holders[row.slot] -= 1

    def _abandon(self) -> None:
        """The thread ends: nobody is left waiting."""
        with self._lock:
            rows, self._rows = [*self._rows, *self._waiting], []
            self._waiting.clear()
            tasks, self._tasks = self._tasks, deque()
        for row in rows:
            self._finish(row, "error", "the engine was stopped")
        for _, done in tasks:
            done.set_exception(Conflict("the engine was stopped"))
