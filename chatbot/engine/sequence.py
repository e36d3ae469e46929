"""One request on its way through the embedded engine. Knows tokens and text; neither the model nor the batch."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np

from chatbot.engine.compute.kv_cache import KVCache
from chatbot.engine.compute.lora import LoraAdapter
from chatbot.engine.compute.sampling import generator_for
from chatbot.engine.detokenizer import TextStream
from chatbot.engine.fair_queue import HasRequest
from chatbot.engine.protocol import (
    Delta,
    Finished,
    FinishReason,
    GenerationRequest,
    OnEvent,
    Sampling,
    TokenLogprob,
)
from shoptalk.models.basemodel import ChatTokenizer


@dataclass(slots=True, eq=False)
class RunningSequence(HasRequest):
    """A request's tokens, from its submission to its end.

    The keys and values of the first `computed` tokens, of the prompt and then of the reply, are in `kv_cache`; those of
    the newest token never are. Times are seconds of the performance counter.
    """

    request: GenerationRequest
    prompt: list[int]
    adapter: LoraAdapter | None
    on_event: OnEvent
    tokenizer: ChatTokenizer
    shared: int = 0  # first tokens of the prompt that every client's prompts have
    stream: TextStream = field(init=False)
    generator: np.random.Generator | None = field(init=False)
    submitted: float = field(default_factory=time.perf_counter)
    admitted: float = 0.0  # to the batch
    kv_cache: KVCache | None = None
    computed: int = 0
    cached: int = 0  # tokens of the prompt that an earlier request had computed
    reply: list[int] = field(default_factory=list)
    first: float = 0.0  # when the first token came
    logprobs: float = 0.0  # sum over the reply
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
    def key(self) -> str:
        """The adapter's hash: keys and values depend on it beside the tokens; empty for the base model."""
        return self.adapter.key if self.adapter else ""

    @property
    def decoding(self) -> bool:
        """The whole prompt is computed."""
        return self.computed >= len(self.prompt)

    @property
    def waited_s(self) -> float:
        """Seconds it waited for room in the batch, or has waited so far."""
        return (self.admitted or time.perf_counter()) - self.submitted

    @property
    def ends_early(self) -> FinishReason | None:
        """The reason to end before the next token, if there is one."""
        if self.cancelled:
            return "cancelled"
        if self.displaced:
            return "displaced"
        deadline = self.request.deadline_s
        late = deadline is not None and time.perf_counter() - self.submitted > deadline
        return "deadline" if late else None

    def banned(self, eos: int) -> int | None:
        """Return the token it may not choose now, if there is one."""
        return eos if self.sampling.ignore_eos or len(self.reply) < self.sampling.min_tokens else None

    def add(self, token: int, logprob: float, top: tuple[tuple[int, float], ...], eos: int) -> FinishReason | None:
        """Add a token to the reply and emit its text; return the reason the reply ends, if it does."""
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
        """Emit the rest of the text and `Finished`, once."""
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
