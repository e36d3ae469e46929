"""Compute one step for the batch: a part of the prompts that are new, then one token for every sequence.

An error ends the sequences it concerns, not the engine. Used by the engine's thread only. Knows tokens, KV caches and
the model; not who asked, nor what is recorded.
"""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import structlog
import torch

from chatbot.engine.compute.forward import DecodeToken, Forward, Segment, padded
from chatbot.engine.compute.kv_cache import KVCache
from chatbot.engine.compute.lora import LoraAdapter
from chatbot.engine.compute.sampling import Sampler, TokenChoice
from chatbot.engine.limits import EngineLimits
from chatbot.engine.prefix_cache import PrefixCache
from chatbot.engine.protocol import FinishReason
from chatbot.engine.scheduler import Scheduler
from chatbot.engine.sequence import RunningSequence
from chatbot.engine.slots import AdapterSlots

T = TypeVar("T")
log = structlog.get_logger(__name__)
AHEAD = 128  # positions of a reply that are reserved with its prompt


class ModelRunner:
    """The model's steps over the scheduler's batch."""

    def __init__(
        self,
        forward: Forward,
        sampler: Sampler,
        scheduler: Scheduler,
        slots: AdapterSlots[LoraAdapter],
        limits: EngineLimits,
        eos: int,
    ) -> None:
        """Set up an empty prefix cache; `eos` is the token that ends a reply."""
        self.forward = forward
        self.prefixes = PrefixCache(limits.prefix_bytes)
        self._sampler, self._scheduler, self._slots, self._limits, self._eos = sampler, scheduler, slots, limits, eos

    def step(self) -> bool:
        """Wait for work and compute one step; return False where the engine is to stop."""
        work = self._scheduler.next_step()
        if work is None:
            return False
        for task, done in work.tasks:
            try:
                done.set_result(task())
            except Exception as error:  # noqa: BLE001 - handed to the thread that waits for the task
                done.set_exception(error)
        for sequence in (*work.ended, *self._scheduler.running):
            if reason := sequence.ends_early:
                self.end(sequence, reason)
        self._prefill()
        if sequences := [s for s in self._scheduler.running if s.decoding and s.reply]:
            self._attempt(lambda: self._decode(sequences), sequences)
        return True

    def end(self, sequence: RunningSequence, reason: FinishReason, problem: str | None = None) -> None:
        """End a sequence for any reason.

        It leaves the batch, its KV cache goes to the prefix cache, and its adapter's slot is released.
        """
        self._scheduler.remove(sequence)
        if sequence.kv_cache is not None:
            tokens = [*sequence.prompt, *sequence.reply][: sequence.computed]
            prompt = min(len(sequence.prompt), sequence.computed)
            self.prefixes.put(sequence.key, sequence.client, tokens, prompt, sequence.kv_cache)
            sequence.kv_cache = None
        self._scheduler.record_seconds(sequence)
        try:
            sequence.finish(reason, problem)
        except Exception as error:  # noqa: BLE001 - one listener is broken; the others must not suffer
            log.error("a listener failed at the end of a reply", error=type(error).__name__)
        finally:
            self._slots.release(sequence.request.adapter)

    def _prefill(self) -> None:
        """Compute prompts up to the budget, in the scheduler's order; complete ones get their first token."""
        sequences, segments, used = [], [], 0
        for sequence in self._scheduler.next_prompts():
            # with a seed the same reply is promised again: the prompt is always computed alike
            alone = sequence.sampling.seed is not None
            most = self._limits.prefill_chunk if alone else self._scheduler.prompt_budget(sequence.lane) - used
            segment = self._attempt(partial(self._segment, sequence, most), [sequence])
            if segment is not None and alone:
                self._attempt(partial(self._compute, [sequence], [segment]), [sequence])
            elif segment is not None:
                sequences.append(sequence)
                segments.append(segment)
            used += padded(len(segment.ids)) if segment is not None else 0
        if sequences:
            self._attempt(lambda: self._compute(sequences, segments), sequences)

    def _segment(self, sequence: RunningSequence, most: int) -> Segment | None:
        """Return the next part of a prompt, up to `most` tokens."""
        if sequence.kv_cache is None:
            sequence.kv_cache, sequence.computed = self._first_kv_cache(sequence)
            sequence.cached = sequence.computed
        ids = sequence.prompt[sequence.computed : sequence.computed + max(0, most)]
        return Segment(ids, sequence.kv_cache, sequence.computed, sequence.adapter) if ids else None

    def _first_kv_cache(self, sequence: RunningSequence) -> tuple[KVCache, int]:
        """Return a KV cache for a sequence, and how many of its prompt's tokens it holds already."""
        positions = min(self._limits.max_context, len(sequence.prompt) + min(sequence.sampling.max_tokens, AHEAD))
        if sequence.sampling.seed is None and (
            found := self.prefixes.take(sequence.key, sequence.client, sequence.prompt, positions, sequence.shared)
        ):
            return found
        weights = self.forward.weights
        return KVCache(weights.shape, weights.dtype, positions), 0

    def _compute(self, sequences: list[RunningSequence], segments: list[Segment]) -> None:
        """Compute segments of prompts in one pass."""
        states = self.forward.prefill(segments)
        whole, last = [], []
        for sequence, segment, hidden in zip(sequences, segments, states, strict=True):
            sequence.computed += len(segment.ids)
            if sequence.decoding:
                whole.append(sequence)
                last.append(hidden[-1:])
        if whole:
            self._choose(whole, torch.cat(last))

    def _decode(self, sequences: list[RunningSequence]) -> None:
        """Compute each sequence's newest token in one pass, and choose its next one."""
        tokens = []
        for sequence in sequences:
            assert sequence.kv_cache is not None
            sequence.kv_cache.reserve(sequence.computed + 1, sequence.computed)
            tokens.append(DecodeToken(sequence.reply[-1], sequence.kv_cache, sequence.computed, sequence.adapter))
        hidden = self.forward.decode(tokens)
        for sequence in sequences:
            sequence.computed += 1
        self._choose(sequences, hidden)

    def _choose(self, sequences: list[RunningSequence], hidden: torch.Tensor) -> None:
        """Choose each sequence's next token from its hidden state, [sequences, hidden]."""
        choices = self._sampler.choose(
            hidden,
            self.forward.logits(hidden),
            [sequence.sampling for sequence in sequences],
            [sequence.generator for sequence in sequences],
            [sequence.banned(self._eos) for sequence in sequences],
        )
        for sequence, choice in zip(sequences, choices, strict=True):
            self._attempt(partial(self._add, sequence, choice), [sequence])

    def _add(self, sequence: RunningSequence, choice: TokenChoice) -> None:
        """Add a chosen token to the reply; end the sequence where that is its last."""
        if not math.isfinite(choice.logprob):
            raise ArithmeticError("the model's output is not finite")
        reason = sequence.add(choice.token, choice.logprob, choice.top, self._eos)
        if reason is None and len(sequence.prompt) + len(sequence.reply) >= self._limits.max_context:
            reason = "length"
        if reason is not None:
            self.end(sequence, reason)

    def _attempt(self, work: Callable[[], T], sequences: list[RunningSequence]) -> T | None:
        """Do the work; an error ends the sequences it concerns, not the engine."""
        try:
            return work()
        except Exception as error:  # noqa: BLE001 - reported to the requests it concerns, logged without their text
            where = traceback.format_tb(error.__traceback__)[-1].strip()
            log.error("generation failed", error=type(error).__name__, where=where)
            for sequence in sequences:
                if not sequence.finished:
                    sequence.kv_cache = None  # may be half written
                    self.end(sequence, "error", "the model could not answer this")
            return None
