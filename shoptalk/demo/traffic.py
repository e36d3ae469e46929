"""Plays customers: replays recorded conversations over HTTP like any client, and gives feedback. Knows no store.

Counts errors instead of raising them, since customers do not stop at the first error either.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import httpx

from shoptalk.demo.conversation import Recorded


@dataclass(frozen=True, slots=True)
class ReceivedReply:
    """One reply as a customer received it."""

    inference_id: str
    model: str
    text: str
    tokens: int


@dataclass(slots=True)
class Tally:
    """Totals of what happened; updated under a lock."""

    conversations: int = 0
    replies: int = 0
    tokens: int = 0
    errors: int = 0
    problems: list[str] = field(default_factory=list)


class Customers:
    """Clients of one API with one key, which ask for the model `alias`."""

    def __init__(self, url: str, key: str, alias: str, at_once: int = 8) -> None:
        self._alias, self._at_once = alias, at_once
        limits = httpx.Limits(max_connections=at_once + 2)
        headers = {"Authorization": f"Bearer {key}"}
        self._http = httpx.Client(base_url=url, headers=headers, timeout=180.0, limits=limits, trust_env=False)
        self._lock = threading.Lock()
        self.tally = Tally()

    def close(self) -> None:
        self._http.close()

    def replay(
        self,
        conversations: Sequence[Recorded],
        exchanges: Callable[[int], int],
        max_tokens: int,
        on_done: Callable[[int], None],
        stop: threading.Event | None = None,
    ) -> None:
        """Replay conversations side by side; number i gets `exchanges(i)` exchanges."""

        def one(numbered: tuple[int, Recorded]) -> None:
            if stop is None or not stop.is_set():
                self._converse(numbered[1], exchanges(numbered[0]), max_tokens)
                on_done(1)

        with ThreadPoolExecutor(self._at_once) as pool:
            list(pool.map(one, enumerate(conversations)))

    def ask(self, text: str, max_tokens: int, *, stream: bool) -> ReceivedReply | None:
        """Send one message in a conversation of its own; return the reply, None where it failed."""
        return self._chat([{"role": "user", "content": text}], None, max_tokens, stream=stream)

    def _converse(self, recorded: Recorded, exchanges: int, max_tokens: int) -> None:
        history: list[dict[str, str]] = []
        for asked, wanted in recorded.exchanges[:exchanges]:
            history.append({"role": "user", "content": asked})
            said = self._chat(history, recorded.id, max_tokens, stream=len(recorded.id) % 2 == 0)
            if said is None:
                return
            history.append({"role": "assistant", "content": said.text})
            self._rate(said, wanted)
        with self._lock:
            self.tally.conversations += 1

    def _chat(
        self, history: Sequence[dict[str, str]], conversation: str | None, max_tokens: int, *, stream: bool
    ) -> ReceivedReply | None:
        body = {"model": self._alias, "messages": list(history), "max_tokens": max_tokens, "stream": stream}
        if conversation:
            body["metadata"] = {"conversation_id": conversation}
            body["user"] = f"customer-of-{conversation}"[:512]
        if stream:
            body["stream_options"] = {"include_usage": True}
        try:
            said = self._streamed(body) if stream else self._plain(body)
        except (httpx.HTTPError, ValueError, KeyError) as error:
            with self._lock:
                self.tally.errors += 1
                self.tally.problems.append(f"{type(error).__name__}: {str(error)[:200]}")
            return None
        with self._lock:
            self.tally.replies += 1
            self.tally.tokens += said.tokens
        return said

    def _plain(self, body: dict[str, object]) -> ReceivedReply:
        response = self._http.post("/v1/chat/completions", json=body)
        response.raise_for_status()
        answer = response.json()
        text, tokens = answer["choices"][0]["message"]["content"], answer["usage"]["completion_tokens"]
        return ReceivedReply(answer["id"], answer["model"], text, tokens)

    def _streamed(self, body: dict[str, object]) -> ReceivedReply:
        text: list[str] = []
        head: dict[str, str] = {}
        tokens, done = 0, False
        with self._http.stream("POST", "/v1/chat/completions", json=body) as response:
            response.raise_for_status()
            for data in _events(response.iter_lines()):
                if data == "[DONE]":
                    done = True
                    break
                chunk = json.loads(data)
                if "error" in chunk:
                    raise ValueError(chunk["error"]["message"])
                head = {"id": chunk["id"], "model": chunk["model"]}
                tokens = chunk["usage"]["completion_tokens"] if chunk.get("usage") else tokens
                text += [c["delta"].get("content") or "" for c in chunk["choices"]]
        if not done:
            raise ValueError("the stream ended before [DONE]")
        return ReceivedReply(head["id"], head["model"], "".join(text), tokens)

    def _rate(self, said: ReceivedReply, wanted: str) -> None:
        """Send thumbs up where the reply shares enough words with what a good agent wrote, else thumbs down."""
        ours, theirs = set(said.text.casefold().split()), set(wanted.casefold().split())
        value = 1 if len(ours & theirs) >= 0.25 * len(theirs) else 0
        body = {"inference_id": said.inference_id, "metric": "thumbs", "value": value}
        try:
            self._http.post("/v1/feedback", json=body).raise_for_status()
        except httpx.HTTPError as error:
            with self._lock:
                self.tally.errors += 1
                self.tally.problems.append(f"feedback: {type(error).__name__}")


def _events(lines: Iterable[str]) -> Iterable[str]:
    return (line[6:] for line in lines if line.startswith("data: "))
