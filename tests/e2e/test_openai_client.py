"""The official OpenAI client works with the real engines as it does with OpenAI."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import openai
import pytest

from shoptalk.domain import Scope
from shoptalk.models.basemodel import BaseModel
from tests.e2e.stack import Stack, models_folder
from tests.vllm import VllmServer, needed_vllm

pytestmark = pytest.mark.slow
HELLO = [{"role": "user", "content": "Hello, where is my order 123-4567890-1234567?"}]


@pytest.fixture(scope="module", params=["embedded", pytest.param("vllm", marks=pytest.mark.vllm)])
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The API on each engine."""
    with ExitStack() as opened:
        more: dict[str, Any] = {}
        if request.param == "vllm":
            base: BaseModel = request.getfixturevalue("real_base")
            more["vllm_url"] = opened.enter_context(VllmServer(needed_vllm(), base.folder, base.name)).url
        home = tmp_path_factory.mktemp(f"openai-{request.param}")
        stack = opened.enter_context(Stack(home, engine=request.param, models=models_folder(), **more))
        stack.start("serve")
        yield stack


OPENED: list[openai.OpenAI] = []


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """Close the clients of a test: a socket left to the garbage collector gives a warning, and so an error."""
    yield
    while OPENED:
        OPENED.pop().close()


def connect(stack: Stack, key: str) -> openai.OpenAI:
    OPENED.append(openai.OpenAI(api_key=key, base_url=f"{stack.url}/v1", max_retries=0))
    return OPENED[-1]


def client(stack: Stack, *scopes: Scope) -> openai.OpenAI:
    return connect(stack, stack.key(*scopes))


def test_chat(running: Stack) -> None:
    reply = client(running, Scope.CHAT).chat.completions.create(model="shop", messages=HELLO, max_tokens=12)  # type: ignore[arg-type]
    assert reply.id.startswith("inf_")
    assert reply.model == "shop@v0"
    assert reply.choices[0].message.content
    assert reply.usage is not None
    assert reply.usage.completion_tokens <= 12
    assert reply.system_fingerprint


def test_a_streamed_reply_equals_the_plain_one(running: Stack) -> None:
    chat = client(running, Scope.CHAT).chat.completions
    plain = chat.create(model="shop", messages=HELLO, max_tokens=24, temperature=0)  # type: ignore[arg-type]
    chunks = list(
        chat.create(
            model="shop", messages=HELLO, max_tokens=24, temperature=0, stream=True,
            stream_options={"include_usage": True},
        )  # type: ignore[call-overload]
    )  # fmt: skip
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == plain.choices[0].message.content
    assert len(chunks) > 5
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == plain.choices[0].finish_reason
    usage = chunks[-1].usage  # without the cached tokens: the second time more of the prompt is cached
    assert plain.usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (
        plain.usage.prompt_tokens,
        plain.usage.completion_tokens,
        plain.usage.total_tokens,
    )


def test_stop_seed_and_logprobs(running: Stack) -> None:
    chat = client(running, Scope.CHAT).chat.completions
    first = chat.create(
        model="shop", messages=HELLO, max_tokens=24, temperature=0.9, seed=5, logprobs=True, top_logprobs=3
    )  # type: ignore[call-overload]
    again = chat.create(model="shop", messages=HELLO, max_tokens=24, temperature=0.9, seed=5)  # type: ignore[arg-type]
    assert first.choices[0].message.content == again.choices[0].message.content
    details = first.choices[0].logprobs.content
    assert len(details) >= 1
    assert all(len(d.top_logprobs) == 3 and d.logprob <= 0 for d in details)
    whole = chat.create(model="shop", messages=HELLO, max_tokens=24, temperature=0)  # type: ignore[arg-type]
    text = whole.choices[0].message.content or ""
    cut = chat.create(model="shop", messages=HELLO, max_tokens=24, temperature=0, stop=[text[5:9]])  # type: ignore[arg-type]
    assert cut.choices[0].message.content == text[: text.index(text[5:9])]
    assert cut.choices[0].finish_reason == "stop"


def test_models(running: Stack) -> None:
    assert next(iter(client(running, Scope.CHAT).models.list())).id == "shop"


@pytest.mark.parametrize(
    ("change", "kind", "status", "param"),
    [
        ({"model": "nobody"}, openai.NotFoundError, 404, "model"),
        ({"messages": []}, openai.BadRequestError, 400, "messages"),
        ({"messages": [{"role": "user", "content": "word " * 6000}]}, openai.BadRequestError, 400, "messages"),
        ({"messages": "hello"}, openai.BadRequestError, 400, "messages"),
        ({"temperature": "hot"}, openai.BadRequestError, 400, "temperature"),
        ({"max_tokens": 0}, openai.BadRequestError, 400, "max_tokens"),
        ({"n": 2}, openai.BadRequestError, 400, "n"),
    ],
)
def test_bad_input_names_the_field(
    running: Stack, change: dict[str, object], kind: type[openai.APIStatusError], status: int, param: str
) -> None:
    body = {"model": "shop", "messages": HELLO, "max_tokens": 4, **change}
    with pytest.raises(kind) as caught:
        client(running, Scope.CHAT).chat.completions.create(**body)  # type: ignore[call-overload]
    assert caught.value.status_code == status
    assert caught.value.param == param
    assert caught.value.body["message"]  # type: ignore[index, call-overload]


def test_keys_and_scopes(running: Stack) -> None:
    nobody = connect(running, "sk-shoptalk-wrong")
    with pytest.raises(openai.AuthenticationError):
        nobody.models.list()
    with pytest.raises(openai.PermissionDeniedError):
        client(running, Scope.READ).chat.completions.create(model="shop", messages=HELLO)  # type: ignore[arg-type]


def test_a_conversation_belongs_to_its_owner_and_customer(running: Stack) -> None:
    mine = client(running, Scope.CHAT)
    about = {"model": "shop", "messages": HELLO, "max_tokens": 4, "metadata": {"conversation_id": "ours"}}
    mine.chat.completions.create(**about, user="ann")  # type: ignore[call-overload]
    mine.chat.completions.create(**about, user="ann")  # type: ignore[call-overload]
    with pytest.raises(openai.NotFoundError):
        mine.chat.completions.create(**about, user="bob")  # type: ignore[call-overload]
    other = client(running, Scope.CHAT)  # another owner, whose conversation of the same name is a different one
    other.chat.completions.create(**about, user="bob")  # type: ignore[call-overload]


def test_the_customer_sees_values_and_the_model_placeholders(running: Stack) -> None:
    """A reply that repeats the order number shows the real one, streamed or not."""
    ask = [{"role": "user", "content": "Repeat exactly this and nothing else: Your order 123-4567890-1234567 is here."}]
    chat = client(running, Scope.CHAT).chat.completions
    reply = chat.create(model="shop", messages=ask, max_tokens=40, temperature=0)  # type: ignore[arg-type]
    text = reply.choices[0].message.content or ""
    assert "ORDER_ID" not in text
    streamed = chat.create(model="shop", messages=ask, max_tokens=40, temperature=0, stream=True)  # type: ignore[arg-type]
    assert "".join(c.choices[0].delta.content or "" for c in streamed if c.choices) == text
