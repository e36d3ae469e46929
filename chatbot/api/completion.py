"""Chat completions in OpenAI's shape, whole and in chunks. Knows no engine and no store."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from chatbot.api.exchange import Exchange
from chatbot.engine.protocol import Finished, TokenLogprob
from shoptalk.clock import MACHINE

DONE = "data: [DONE]\n\n"
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
REASONS = {"stop": "stop", "length": "length", "cancelled": "stop", "deadline": "length", "error": "stop"}


class Shapes:
    """The answers to one request, in OpenAI's shapes; holds everything but the text."""

    def __init__(self, exchange: Exchange, fingerprint: str) -> None:
        self._head = {
            "id": exchange.id,
            "created": int(MACHINE.unix()),
            "model": str(exchange.route.adapter),
            "system_fingerprint": fingerprint,
        }
        self._conversation = exchange.public_conversation

    def whole(self, text: str, tokens: list[TokenLogprob] | None, finished: Finished) -> dict[str, Any]:
        """Return the whole answer; its fields are those of `chatbot.api.answers.Completion`."""
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": text, "refusal": None},
            "logprobs": logprobs(tokens),
            "finish_reason": REASONS[finished.reason],
        }
        return {
            **self._head,
            "object": "chat.completion",
            "choices": [choice],
            "usage": usage(finished),
            "metadata": {"conversation_id": self._conversation},
        }

    def chunk(self, delta: dict[str, Any], finish: str | None = None, tokens: list[TokenLogprob] | None = None) -> str:
        """Return one event of a streamed answer."""
        choice = {"index": 0, "delta": delta, "logprobs": logprobs(tokens), "finish_reason": finish}
        return event({**self._head, "object": "chat.completion.chunk", "choices": [choice]})

    def usage_chunk(self, finished: Finished) -> str:
        """Return the last event of a streamed answer, which has token counts and no text."""
        return event({**self._head, "object": "chat.completion.chunk", "choices": [], "usage": usage(finished)})


def replay(answer: dict[str, Any], *, include_usage: bool) -> Iterable[str]:
    """Yield an answer that was given before as events: role, text, end, usage."""
    head = {k: answer[k] for k in ("id", "created", "model", "system_fingerprint")}
    first = answer["choices"][0]
    steps: list[tuple[dict[str, Any], str | None]] = [
        ({"role": "assistant", "content": ""}, None),
        ({"content": first["message"]["content"]}, None),
        ({}, first["finish_reason"]),
    ]
    for delta, finish in steps:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        yield event({**head, "object": "chat.completion.chunk", "choices": [choice]})
    if include_usage:
        yield event({**head, "object": "chat.completion.chunk", "choices": [], "usage": answer["usage"]})
    yield DONE


def event(data: dict[str, Any]) -> str:
    """Return data as one server-sent event."""
    return f"data: {_encode(data)}\n\n"


def usage(finished: Finished) -> dict[str, Any]:
    """Return a reply's token counts."""
    total = finished.prompt_tokens + finished.completion_tokens
    return {
        "prompt_tokens": finished.prompt_tokens,
        "completion_tokens": finished.completion_tokens,
        "total_tokens": total,
        "prompt_tokens_details": {"cached_tokens": finished.cached_tokens},
    }


def logprobs(tokens: list[TokenLogprob] | None) -> dict[str, Any] | None:
    """Return log probabilities in OpenAI's shape; None where not asked for."""
    if tokens is None:
        return None

    def one(token: str, logprob: float) -> dict[str, Any]:
        return {"token": token, "logprob": logprob, "bytes": list(token.encode("utf-8", "replace"))}

    return {
        "content": [{**one(t.token, t.logprob), "top_logprobs": [one(alt, p) for alt, p in t.top]} for t in tokens],
        "refusal": None,
    }
