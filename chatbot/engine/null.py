"""An engine without a model: fixed text at once, for tests and measurements of everything around the model.

It checks adapters' files as the real one does, and names the adapter in each reply, so mixing would show. Knows neither
tokens nor sampling.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from chatbot.engine.limits import context_exceeded
from chatbot.engine.protocol import Delta, Finished, FinishReason, GenerationRequest, Lane, OnEvent, TokenLogprob
from chatbot.engine.slots import AdapterSlots
from shoptalk.domain import AdapterRef
from shoptalk.errors import EngineStopped
from shoptalk.models.adapterfile import AdapterFiles, verify

TEXT = "Thank you for your message. This answer comes from {adapter} and was made without a model."


class NullEngine:
    """An engine without a model; see `chatbot.engine.protocol.Engine`. A 'token' is a word, in the context too."""

    def __init__(self, max_context: int = 2048, slots: int = 4) -> None:
        self._max_context = max_context
        self._slots: AdapterSlots[None] = AdapterSlots(slots)
        self._running = False

    @property
    def fingerprint(self) -> str:
        return "null"

    @property
    def base_sha256(self) -> str:
        return "0" * 64

    def start(self) -> None:
        self._running = True

    def stop(self) -> None:
        self._running = False

    def healthy(self) -> bool:
        return self._running

    def submit(self, request: GenerationRequest, on_event: OnEvent) -> None:
        if not self._running:
            raise EngineStopped
        prompt = sum(len(m.content.split()) for m in request.messages)
        if prompt >= self._max_context:
            raise context_exceeded(self._max_context, prompt)
        self._slots.hold(request.adapter)
        self._slots.release(request.adapter)  # the reply is complete when this returns
        # not 'shop@v3', in which the scrubber sees an address
        words = TEXT.format(adapter=str(request.adapter).replace("@", " ")).split(" ")
        taken = words[: request.sampling.max_tokens]
        pieces = [w if i == 0 else f" {w}" for i, w in enumerate(taken)]
        for piece in pieces:
            top = ((piece, 0.0),) * (request.sampling.logprobs or 0)
            details = () if request.sampling.logprobs is None else (TokenLogprob(piece, 0.0, top[:1]),)
            on_event(Delta(piece, details))
        reason: FinishReason = "length" if len(taken) < len(words) else "stop"
        on_event(Finished(reason, "".join(pieces), prompt, len(taken), 0.0, 0.0, 0.0))

    def crowded(self, lane: Lane, group: str, ahead: int) -> float | None:
        """Return None: requests never wait for it."""

    def cancel(self, request_id: str) -> None:
        """Do nothing: replies are complete when `submit` returns."""

    def load(self, adapter: AdapterRef, files: AdapterFiles) -> None:
        verify(files)
        if not adapter.is_base:
            self._slots.put(adapter, None)

    def unload(self, adapter: AdapterRef) -> bool:
        return self._slots.drop(adapter)

    def resident(self) -> Sequence[AdapterRef]:
        return self._slots.resident()

    def metrics(self) -> Mapping[str, float]:
        return {"rows": 0, "waiting": 0, "waiting_visitors": 0, "held": self._slots.held()}

    def forget(self) -> None:
        """Do nothing: it keeps nothing of finished requests."""
