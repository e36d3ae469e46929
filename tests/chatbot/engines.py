"""Send requests to an engine from a test, wait, and look at what came."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Any

from chatbot.engine.protocol import Delta, Engine, Event, Finished, GenerationRequest, Sampling
from shoptalk.domain import AdapterRef, Message, new_id

WAIT_S = 60.0
BASE = AdapterRef("shop", 0)


@dataclass
class Reply:
    """The events of one request, as they came."""

    id: str
    deltas: list[Delta] = field(default_factory=list)
    finished: Finished | None = None
    first: threading.Event = field(default_factory=threading.Event)
    done: threading.Event = field(default_factory=threading.Event)

    def __call__(self, event: Event) -> None:
        if isinstance(event, Finished):
            assert self.finished is None, "finished twice"
            self.finished = event
            self.done.set()
        else:
            assert self.finished is None, "text after the end"
            self.deltas.append(event)
        self.first.set()

    def wait(self) -> Finished:
        assert self.done.wait(WAIT_S), "no end"
        assert self.finished is not None
        return self.finished

    @property
    def text(self) -> str:
        return "".join(d.text for d in self.deltas)


def ask(engine: Engine, text: str = "Where is my order?", adapter: AdapterRef = BASE, **sampling: Any) -> Reply:
    """Submit one message; greedy unless asked otherwise."""
    wanted = Sampling(**{"max_tokens": 16, "temperature": 0.0, **sampling})
    reply = Reply(new_id("inf"))
    engine.submit(GenerationRequest(reply.id, [Message("user", text)], adapter, wanted), reply)
    return reply


def answer(engine: Engine, text: str = "Where is my order?", adapter: AdapterRef = BASE, **sampling: Any) -> str:
    return ask(engine, text, adapter, **sampling).wait().text


def let_go(engine: Engine, adapter: AdapterRef) -> None:
    """Unload it; the last request holds it until just after its `Finished`."""
    deadline = time.monotonic() + WAIT_S
    while not engine.unload(adapter):
        assert time.monotonic() < deadline, f"{adapter} is still held"
        time.sleep(0.001)
