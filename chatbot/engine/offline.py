"""The serving engine for evaluation: blocking calls over many chats. Knows no HTTP and judges nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import Self

from chatbot.engine.embedded import EmbeddedEngine
from chatbot.engine.protocol import Event, Finished, GenerationRequest, Sampling
from shoptalk.domain import AdapterRef, Message, new_id
from shoptalk.errors import EngineStopped, InvalidInput
from shoptalk.models.adapterfile import AdapterFiles

Resolve = Callable[[AdapterRef], AdapterFiles]


class OfflineEngine:
    """The engine as a context manager, started on entry and stopped on exit; adapters are loaded when first named."""

    def __init__(self, engine: EmbeddedEngine, resolve: Resolve, max_tokens: int) -> None:
        self._engine, self._resolve, self._max_tokens = engine, resolve, max_tokens

    def __enter__(self) -> Self:
        self._engine.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._engine.stop()

    def score(self, adapter: AdapterRef, messages: Sequence[Message], replies: Sequence[str]) -> list[float]:
        """Return each reply's mean negative log-likelihood, in nats per token."""
        self._ensure(adapter)
        return self._engine.score(adapter, messages, replies)

    def generate(self, adapter: AdapterRef, chats: Sequence[Sequence[Message]]) -> list[str]:
        """Return greedy replies, one per chat, batched as in serving.

        A chat too long for the context gets an empty reply. Raises EngineStopped where the engine fails.
        """
        self._ensure(adapter)
        waiting: list[Future[str]] = []
        for messages in chats:
            reply: Future[str] = Future()
            waiting.append(reply)
            request = GenerationRequest(new_id("evl"), messages, adapter, Sampling(self._max_tokens, temperature=0.0))
            try:
                self._engine.submit(request, _complete(reply))
            except InvalidInput:  # too long for the context: no adapter could answer it
                reply.set_result("")
        return [reply.result() for reply in waiting]

    def _ensure(self, adapter: AdapterRef) -> None:
        if not adapter.is_base and adapter not in self._engine.resident():
            self._engine.load(adapter, self._resolve(adapter))


def _complete(reply: Future[str]) -> Callable[[Event], None]:
    """Return a listener that completes the future with the whole reply."""

    def on_event(event: Event) -> None:
        if not isinstance(event, Finished):
            return
        if event.reason == "error":
            reply.set_exception(EngineStopped(event.problem))
        else:
            reply.set_result(event.text)

    return on_event
