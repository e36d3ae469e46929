"""The default engine: one thread owns the model and answers all requests in one continuous batch.

Sequences join and leave the batch between steps. Each computes with its own adapter, so adapters come and go while
others answer. Requests reach the thread through the scheduler; adapters are read on the caller's thread. Knows tokens
and slots; not who asked, nor what is recorded.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import lru_cache
from typing import TypeVar

import numpy as np
import torch

from chatbot.engine.compute.autotune import chunk_within_pause, fastest_threads
from chatbot.engine.compute.forward import Forward
from chatbot.engine.compute.lora import LoraAdapter, read_adapter
from chatbot.engine.compute.pack import TensorCopier
from chatbot.engine.compute.sampling import Sampler
from chatbot.engine.compute.score import negative_log_likelihoods
from chatbot.engine.compute.threads import ThreadTeam
from chatbot.engine.compute.weights import load_shape, load_weights
from chatbot.engine.limits import EngineLimits, context_exceeded
from chatbot.engine.model_runner import ModelRunner
from chatbot.engine.protocol import GenerationRequest, Lane, OnEvent
from chatbot.engine.scheduler import Scheduler
from chatbot.engine.sequence import RunningSequence
from chatbot.engine.slots import AdapterSlots
from shoptalk.domain import AdapterRef, Message
from shoptalk.errors import EngineStopped, Overloaded
from shoptalk.models.adapterfile import AdapterFiles
from shoptalk.models.basemodel import BaseModel, ChatTokenizer, load_tokenizer
from shoptalk.models.history import within

T = TypeVar("T")
SWITCH_S = 0.0005  # the engine's thread waits this long for the interpreter lock that another thread keeps


class EmbeddedEngine:
    """The engine that computes the model in this process; see `chatbot.engine.protocol.Engine`."""

    def __init__(self, base: BaseModel, dtype: torch.dtype, limits: EngineLimits) -> None:
        """Read the model's sizes and its tokenizer. Raises ConfigurationError for a model it cannot compute."""
        self._base, self._dtype, self._limits = base, dtype, limits
        self._scheduler = Scheduler(limits)
        self._thread: threading.Thread | None = None
        self._slots: AdapterSlots[LoraAdapter] = AdapterSlots(limits.slots)
        self._shape = load_shape(base)
        self._tokenizer = ChatTokenizer(load_tokenizer(base))
        self._beginning = lru_cache(16)(lambda text: self._tokenizer.render([Message("system", text)]))

    @property
    def fingerprint(self) -> str:
        return f"{self._base.fingerprint}-{str(self._dtype).removeprefix('torch.')}"

    @property
    def base_sha256(self) -> str:
        return self._base.sha256

    def start(self) -> None:
        """Load the model in the engine's thread; return when it can answer."""
        ready: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, args=(ready,), name="engine", daemon=True)
        self._thread.start()
        ready.result()

    def stop(self) -> None:
        self._scheduler.stop()
        if self._thread is not None:
            self._thread.join()

    def healthy(self) -> bool:
        return self._thread is not None and self._thread.is_alive() and not self._scheduler.stopping

    def submit(self, request: GenerationRequest, on_event: OnEvent) -> None:
        prompt = self._tokenizer.render(request.messages)
        if len(prompt) >= self._limits.max_context:
            raise context_exceeded(self._limits.max_context, len(prompt))
        shared = _common_length(prompt, self._beginning(request.shared_prefix)) if request.shared_prefix else 0
        with self._scheduler.lock:
            if not self.healthy():
                raise EngineStopped
            wait, displaced = self._scheduler.find_room(request.lane, request.queue_group, request.priority)
            if wait is not None:
                raise Overloaded(retry_after=wait)
            adapter = self._slots.hold(request.adapter)
            sequence = RunningSequence(request, prompt, adapter, on_event, self._tokenizer, shared)
            self._scheduler.push(sequence, displaced)

    def crowded(self, lane: Lane, group: str, ahead: int) -> float | None:
        with self._scheduler.lock:
            return self._scheduler.find_room(lane, group, "normal", ahead)[0]

    def cancel(self, request_id: str) -> None:
        self._scheduler.cancel(request_id)

    def load(self, adapter: AdapterRef, files: AdapterFiles) -> None:
        if not self.healthy():
            raise EngineStopped
        if not adapter.is_base and adapter not in self._slots:
            with self._team.alone():  # on the caller's thread, while the engine's goes on
                read = read_adapter(files, self._shape, self._dtype, self._limits.max_rank, self._copier)
            self._slots.put(adapter, read)

    def unload(self, adapter: AdapterRef) -> bool:
        return self._slots.drop(adapter)

    def resident(self) -> Sequence[AdapterRef]:
        return self._slots.resident()

    def score(self, adapter: AdapterRef, messages: Sequence[Message], replies: Sequence[str]) -> list[float]:
        """Return each reply's mean negative log-likelihood, its end token included, in nats per token; for evaluation.

        Computed by the same model and adapters that answer, between steps, in one pass over the prompt they share. A
        chat too long for the context loses its oldest exchanges, as in training. Raises NotFound.
        """
        most = self._limits.max_context - 1
        wanted = [[*self._tokenizer.encode(reply), self._tokenizer.eos][:most] for reply in replies]
        room = self._limits.max_context - max(map(len, wanted))
        chat = within(messages, room, lambda each: len(self._tokenizer.render(each)))
        prompt = self._tokenizer.render(messages if chat is None else chat)[-room:]
        held = self._slots.hold(adapter)
        try:
            return self._between_steps(lambda: negative_log_likelihoods(self._runner.forward, held, prompt, wanted))
        finally:
            self._slots.release(adapter)

    def metrics(self) -> Mapping[str, float]:
        """Return what the protocol asks for, visitors' parts of it, and the bytes of the prefix cache."""
        with self._scheduler.lock:
            cached = self._runner.prefixes.nbytes if self.healthy() else 0
            return {**self._scheduler.metrics(), "held": self._slots.held(), "prefix_bytes": cached}

    def forget(self) -> None:
        """Empty the prefix cache; there is none where the engine does not run."""
        with contextlib.suppress(EngineStopped):
            self._between_steps(lambda: self._runner.prefixes.clear())  # noqa: PLW0108 - there only once it runs

    def _between_steps(self, task: Callable[[], T]) -> T:
        """Run a task on the engine's thread and return its result. Raises EngineStopped."""
        if not self.healthy():
            raise EngineStopped
        return self._scheduler.run_between_steps(task).result()

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
                while self._runner.step():
                    pass
        finally:
            self._end_all()

    def _prepare(self) -> None:
        """Load the model and measure how to run it best on this machine."""
        limits = self._limits
        sys.setswitchinterval(SWITCH_S)
        if limits.background and sys.platform == "linux":
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))  # this thread and those it starts
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        team = self._team = ThreadTeam(limits.threads or cores, limits.kernels)
        torch.set_num_threads(team.threads)
        for kind in (np.float32, np.float64):
            np.finfo(kind)  # kept by numpy, which warns where it first looks while denormal numbers are flushed
        torch.set_flush_denormal(True)
        weights = load_weights(self._base, self._dtype, limits.max_context)
        forward, sampler = Forward(weights, team), Sampler(team, weights.head_weight, limits.max_batch)
        self._copier = TensorCopier(team, self._dtype)
        self._runner = ModelRunner(forward, sampler, self._scheduler, self._slots, limits, self._tokenizer.eos)
        with torch.inference_mode():
            if not limits.threads and not limits.background:
                team.threads = fastest_threads(forward, team, limits.max_batch)
                torch.set_num_threads(team.threads)
            forward.warm(limits.max_batch, limits.prefill_chunk)
            if not limits.background:
                self._scheduler.chunk = chunk_within_pause(forward, limits.prefill_chunk)

    def _end_all(self) -> None:
        """End all that is left when the thread ends, so that nothing waits for it."""
        tasks, sequences = self._scheduler.clear()
        for _, done in tasks:
            done.set_exception(EngineStopped())
        for sequence in sequences:
            sequence.kv_cache = None
            self._runner.end(sequence, "error", "the engine was stopped")


def _common_length(a: Sequence[int], b: Sequence[int]) -> int:
    """Return the length of the longest common prefix."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
