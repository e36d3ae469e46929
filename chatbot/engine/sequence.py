"""One request on its way through the engine. Knows tokens and text; neither the model nor the batch."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np

from chatbot.engine.compute.kv_cache import KeyValues
from chatbot.engine.compute.lora import Adapter
from chatbot.engine.compute.sampling import generator_for
from chatbot.engine.detokenizer import TextStream
from chatbot.engine.protocol import (
    Delta,
    Finished,
    FinishReason,
    GenerationRequest,
    Lane,
    OnEvent,
    Priority,
    Sampling,
    TokenLogprob,
)
from shoptalk.models.basemodel import ChatTokenizer


@dataclass(slots=True, eq=False)
class Row:
    """`computed` tokens, of the prompt and then of the reply, are in `store`; the newest token never is."""

    request: GenerationRequest
    prompt: list[int]
    adapter: Adapter | None
    on_event: OnEvent
    tokenizer: ChatTokenizer
    common: int = 0  # of the prompt's tokens every client has
    stream: TextStream = field(init=False)
    generator: np.random.Generator | None = field(init=False)
    submitted: float = field(default_factory=time.perf_counter)
    admitted: float = 0.0  # to the batch
    store: KeyValues | None = None
    computed: int = 0
    cached: int = 0
    reply: list[int] = field(default_factory=list)
    first: float = 0.0
    logprobs: float = 0.0
    cancelled: bool = False
    displaced: bool = False
    finished: bool = False

    def __post_init__(self) -> None:
        self.stream = TextStream(self.tokenizer, self.sampling.stop)
        self.generator = generator_for(self.sampling)

    @property
    def sampling(self) -> Sampling:
        return self.request.sampling

    @property
    def client(self) -> str:
        return self.request.client

    @property
    def group(self) -> str:
        return self.request.turns

    @property
    def lane(self) -> Lane:
        return self.request.lane

    @property
    def priority(self) -> Priority:
        return self.request.priority

    @property
    def key(self) -> str:
        """What its keys and values depend on beside its tokens."""
        return self.adapter.key if self.adapter else ""

    @property
    def decoding(self) -> bool:
        return self.computed >= len(self.prompt)

    @property
    def waited_s(self) -> float:
        """How long it has waited for a place in the batch."""
        return (self.admitted or time.perf_counter()) - self.submitted

    @property
    def ends_early(self) -> FinishReason | None:
        """Why it should end before its next token, if it should."""
        if self.cancelled:
            return "cancelled"
        if self.displaced:
            return "displaced"
        deadline = self.request.deadline_s
        late = deadline is not None and time.perf_counter() - self.submitted > deadline
        return "deadline" if late else None

    def banned(self, eos: int) -> int | None:
        """The token it may not choose now."""
        return eos if self.sampling.ignore_eos or len(self.reply) < self.sampling.min_tokens else None

    def take(self, token: int, logprob: float, top: tuple[tuple[int, float], ...], eos: int) -> FinishReason | None:
        """Add a token to the reply and tell its text; returns why the reply is over, if it is."""
        if not self.reply:
            self.first = time.perf_counter()
        self.reply.append(token)
        self.logprobs += logprob
        if token == eos:
            return "stop"
        text = self.stream.feed(token)
        details = () if self.sampling.logprobs is None else (self._detail(token, logprob, top),)
        if text or details:
            self.on_event(Delta(text, details))
        if self.stream.stopped:
            return "stop"
        return "length" if len(self.reply) >= self.sampling.max_tokens else None

    def finish(self, reason: FinishReason, problem: str | None = None) -> None:
        """Tell the end, once."""
        if self.finished:
            return
        self.finished = True
        if rest := self.stream.flush():
            self.on_event(Delta(rest))
        ended, count = time.perf_counter(), len(self.reply)
        self.on_event(
            Finished(
                reason, self.stream.text, len(self.prompt), count, 1000 * ((self.first or ended) - self.submitted),
                1000 * (ended - self.submitted), self.logprobs / max(1, count), problem, self.cached,
            )
        )  # fmt: skip

    def _detail(self, token: int, logprob: float, top: tuple[tuple[int, float], ...]) -> TokenLogprob:
        decode = self.tokenizer.decode
        return TokenLogprob(decode([token]), logprob, tuple((decode([i]), p) for i, p in top))
