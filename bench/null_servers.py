"""The servers that `bench.http` compares with shoptalk, each in its own process, both with the null engine's text.

Usage: python -m bench.null_servers bare PORT    the fewest lines of FastAPI that answer like OpenAI
       python -m bench.null_servers layer        shoptalk's API (settings from the environment) without scrubbing
                                                 and the commit: what is left is its HTTP layer
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from chatbot.api.completion import DONE, event
from chatbot.api.recorder import Recorder
from chatbot.engine.null import TEXT
from ingest.scrub.placeholders import Vault
from ingest.scrub.scrubbed import Scrubbed
from shoptalk.domain import Message

PIECES = [w if i == 0 else f" {w}" for i, w in enumerate(TEXT.split(" "))]
HEAD = {"id": "chatcmpl-1", "created": 1, "model": "shop", "system_fingerprint": "bare"}
USAGE = {"prompt_tokens": 1, "completion_tokens": len(PIECES), "total_tokens": 1 + len(PIECES)}


def bare() -> FastAPI:
    app = FastAPI(openapi_url=None)

    @app.post("/v1/chat/completions")
    async def chat(request: Request) -> Response:
        if (await request.json()).get("stream"):
            return StreamingResponse(_chunks(), media_type="text/event-stream")
        message = {"role": "assistant", "content": "".join(PIECES)}
        choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
        return JSONResponse({**HEAD, "object": "chat.completion", "choices": [choice], "usage": USAGE})

    return app


async def _chunks() -> AsyncIterator[str]:
    deltas: list[tuple[dict[str, str], str | None]] = [({"role": "assistant", "content": ""}, None)]
    deltas += [({"content": piece}, None) for piece in PIECES]
    for delta, finish in [*deltas, ({}, "stop")]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        yield event({**HEAD, "object": "chat.completion.chunk", "choices": [choice]})
    yield DONE


class NoScrubber:
    """A scrubber that changes nothing."""

    version = "none"

    def start(self) -> None:
        pass

    def close(self) -> None:
        pass

    def scrub(self, messages: Sequence[Message], record: Mapping[str, Any] | None = None) -> Scrubbed:
        texts = tuple(m.content for m in messages)
        return Scrubbed(texts, texts, tuple({} for _ in texts), Vault({}, frozenset()))

    def scrub_correction(self, history: Sequence[str], text: str) -> tuple[str, Mapping[str, int]]:
        return text, {}


class NoRecorder(Recorder):
    """A recorder that looks up a conversation's owner and stores nothing."""

    def record(self, *_: Any) -> None:
        pass


def layer() -> FastAPI:
    from shoptalk.app.api import build_api
    from shoptalk.settings import load_settings

    app = build_api(load_settings())
    services = app.state.services
    recorder = NoRecorder(services.store, services.secrets, services.inbox, "none")
    app.state.services = dataclasses.replace(services, scrubber=NoScrubber(), recorder=recorder)
    return app


def main() -> None:
    if sys.argv[1] == "bare":
        app, port = bare(), int(sys.argv[2])
    else:
        app = layer()
        port = app.state.services.settings.port
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
