"""Turn tokens into text as they come: whole characters only, and nothing of a stop string.

Knows neither the model nor the client.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Decoder(Protocol):
    """The part of a tokenizer that turns token ids into text."""

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool = False) -> str: ...


class TextStream:
    """Incremental decoding of one reply. `text` is all that was returned; `stopped`: a stop string was complete."""

    def __init__(self, tokenizer: Decoder, stop: tuple[str, ...]) -> None:
        self._tokenizer = tokenizer
        self._stop = stop
        self._ids: list[int] = []
        self._done = 0  # tokens already turned into text
        self._prefix = 0  # tokens decoded again for context
        self._held = ""
        self.text = ""
        self.stopped = False

    def feed(self, token: int) -> str:
        """Add a token; return the new text that is certain. Set `stopped` once a stop string is complete."""
        self._ids.append(token)
        before = self._decode(self._ids[self._prefix : self._done])
        now = self._decode(self._ids[self._prefix :])
        if len(now) <= len(before) or now.endswith("\ufffd"):
            return ""
        self._prefix, self._done = self._done, len(self._ids)
        return self._release(now[len(before) :])

    def flush(self) -> str:
        """Return the text that is left at the end."""
        if self.stopped:
            return ""
        before = self._decode(self._ids[self._prefix : self._done])
        out = self._release(self._decode(self._ids[self._prefix :])[len(before) :])
        rest, self._held = self._held, ""
        self.text += rest
        return out + rest

    def _release(self, piece: str) -> str:
        """Return new text as far as no stop string may begin in it; hold the rest back."""
        waiting = self._held + piece
        cut = min((at for s in self._stop if (at := waiting.find(s)) >= 0), default=-1)
        if cut >= 0:
            self.stopped, self._held = True, ""
            self.text += waiting[:cut]
            return waiting[:cut]
        keep = max((_overlap(waiting, s) for s in self._stop), default=0)
        out, self._held = waiting[: len(waiting) - keep], waiting[len(waiting) - keep :]
        self.text += out
        return out

    def _decode(self, ids: list[int]) -> str:
        return self._tokenizer.decode(ids, skip_special_tokens=True)


def _overlap(text: str, stop: str) -> int:
    """Return the length of the longest end of `text` that begins `stop`, without being all of it."""
    return next((n for n in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:n])), 0)
