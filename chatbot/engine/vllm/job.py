"""One request on its way through vLLM: the body for the server, and the events made of its answer.

The server receives and sends token ids only. Text, its end at a stop string included, is made here, by the same code as
in the embedded engine; so is the end of the context. Knows neither the queue nor adapters.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from chatbot.engine.detokenizer import TextStream
from chatbot.engine.fair_queue import HasRequest
from chatbot.engine.protocol import (
    Delta,
    Finished,
    FinishReason,
    GenerationRequest,
    OnEvent,
    TokenLogprob,
)
from chatbot.engine.vllm.client import GeneratedToken, VllmClient
from shoptalk.errors import EngineUnavailable
from shoptalk.models.basemodel import ChatTokenizer

GREEDY = 1e-4  # temperatures below are greedy
# overrides the model's own generation_config
NEUTRAL = {"top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0}


@dataclass(eq=False)
class Job(HasRequest):
    """A request and the state of its reply. All but the constructor runs in the engine's event loop."""

    request: GenerationRequest
    on_event: OnEvent
    tokenizer: ChatTokenizer
    prompt: Sequence[int]
    room: int  # tokens the context has left
    model: str  # the name vLLM knows the adapter by
    submitted: float = field(default_factory=time.perf_counter)
    task: asyncio.Task[FinishReason] | None = None
    timer: asyncio.TimerHandle | None = None
    ended: FinishReason | None = None  # by the engine: cancelled, displaced or late
    finished: bool = False
    displaced: bool = False
    _first: float = 0.0
    _generated: int = 0
    _logprobs: float = 0.0
    _cached: int = 0

    @property
    def waited_s(self) -> float:
        """Seconds since its submission; meant for jobs that wait."""
        return time.perf_counter() - self.submitted

    def __post_init__(self) -> None:
        self._text = TextStream(self.tokenizer, self.request.sampling.stop)
        self._most = min(self.request.sampling.max_tokens, self.room)

    @property
    def seconds(self) -> float:
        """Seconds since its first token; 0 before it."""
        return time.perf_counter() - self._first if self._first else 0.0

    async def run(self, client: VllmClient) -> FinishReason:
        """Read the reply to its end and return the reason; the server stops where the text ends or this is cancelled.

        Raises EngineUnavailable where the stream ends without a reason.
        """
        reason: FinishReason | None = None
        async with contextlib.aclosing(client.stream(self._body())) as chunks:
            try:
                async for chunk in chunks:
                    self._cached = self._cached if chunk.cached is None else chunk.cached
                    for token in chunk.tokens:
                        reason = reason or self._add(token)
                    if chunk.finish is not None:
                        reason = reason or _reason(chunk.finish)
                    elif reason and chunk.tokens:
                        break  # the server would go on
            except EngineUnavailable:
                if reason is None:
                    raise
        if reason is None:
            raise EngineUnavailable("vLLM ended a stream without a reason")
        return reason

    def finish(self, reason: FinishReason, problem: str | None = None) -> None:
        """Emit the rest of the text and `Finished`, once."""
        if self.finished:
            return
        self.finished = True
        if self.timer is not None:
            self.timer.cancel()
        if rest := self._text.flush():
            self.on_event(Delta(rest))
        ended = time.perf_counter()
        self.on_event(
            Finished(
                reason, self._text.text, len(self.prompt), self._generated,
                1000 * ((self._first or ended) - self.submitted), 1000 * (ended - self.submitted),
                self._logprobs / max(1, self._generated), problem, self._cached,
            )
        )  # fmt: skip

    def _add(self, token: GeneratedToken) -> FinishReason | None:
        if not self._generated:
            self._first = time.perf_counter()
        self._generated += 1
        self._logprobs += token.logprob
        if token.id == self.tokenizer.eos:
            return "stop"
        text = self._text.feed(token.id)
        wanted = self.request.sampling.logprobs
        details = () if wanted is None else (self._detail(token, wanted),)
        if text or details:
            self.on_event(Delta(text, details))
        if self._text.stopped:
            return "stop"
        return "length" if self._generated >= self._most else None

    def _detail(self, token: GeneratedToken, wanted: int) -> TokenLogprob:
        decode = self.tokenizer.decode
        top = tuple((decode([i]), logprob) for i, logprob in token.top[:wanted])
        return TokenLogprob(decode([token.id]), token.logprob, top)

    def _body(self) -> dict[str, Any]:
        sampling = self.request.sampling
        return {
            **NEUTRAL,
            "model": self.model,
            "prompt": list(self.prompt),
            "add_special_tokens": False,
            "max_tokens": self._most,
            # never the end token where it is to be ignored; vLLM's ignore_eos would choose it and go on
            "min_tokens": self._most if sampling.ignore_eos else min(sampling.min_tokens, self._most),
            "temperature": 0.0 if sampling.temperature < GREEDY else sampling.temperature,
            "top_p": sampling.top_p,
            "seed": None if sampling.seed is None else (sampling.seed + 2**63) % 2**64 - 2**63,
            "stop": list(sampling.stop),  # so that it ends by itself, with its usage; what is shown is decided here
            "logprobs": sampling.logprobs or 0,
            "return_tokens_as_token_ids": True,
            "stream": True,
            "stream_options": {"include_usage": True},
        }


def _reason(finish: str) -> FinishReason:
    """Translate vLLM's finish_reason. Raises EngineUnavailable for any that a reply to us cannot have."""
    if finish == "length":
        return "length"
    if finish == "stop":
        return "stop"
    raise EngineUnavailable("vLLM aborted a reply")
