"""The engine without a model keeps the same promises."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from chatbot.engine.null import NullEngine
from shoptalk.domain import AdapterRef
from shoptalk.errors import AdapterRefused, EngineStopped, InvalidInput, NotFound
from shoptalk.models.adapterfile import AdapterFiles
from tests.chatbot.engines import BASE, answer, ask
from tests.shoptalk.adapters import adapter

A = AdapterRef("shop", 1)


@pytest.fixture
def engine() -> Iterator[NullEngine]:
    engine = NullEngine(max_context=50)
    engine.start()
    yield engine
    engine.stop()


def test_each_reply_names_its_adapter(engine: NullEngine) -> None:
    engine.load(A, adapter())
    assert "shop v1" in answer(engine, adapter=A, max_tokens=99)
    assert "shop v0" in answer(engine, adapter=BASE, max_tokens=99)
    assert list(engine.resident()) == [A]
    assert engine.unload(A)
    assert engine.unload(A)
    with pytest.raises(NotFound):
        ask(engine, adapter=A)


def test_max_tokens_and_logprobs(engine: NullEngine) -> None:
    reply = ask(engine, max_tokens=3, logprobs=1)
    finished = reply.wait()
    assert (finished.reason, finished.completion_tokens, finished.text) == ("length", 3, reply.text)
    assert [len(d.tokens) for d in reply.deltas] == [1, 1, 1]
    assert ask(engine, max_tokens=99).wait().reason == "stop"


def test_too_long_a_prompt_is_refused(engine: NullEngine) -> None:
    with pytest.raises(InvalidInput) as caught:
        ask(engine, "order " * 60)
    assert caught.value.code == "context_length_exceeded"


def test_a_bad_adapter_is_refused(engine: NullEngine) -> None:
    with pytest.raises(AdapterRefused):
        engine.load(A, AdapterFiles(b"{}", b""))
    assert list(engine.resident()) == []


def test_a_stopped_engine_answers_nothing(engine: NullEngine) -> None:
    assert engine.healthy()
    engine.stop()
    assert not engine.healthy()
    with pytest.raises(EngineStopped):
        ask(engine)
