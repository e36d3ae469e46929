"""Recorded conversations the demo replays: a customer's messages and the replies a good agent gave."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from shoptalk.domain import Role

COMPANY = re.compile(r"\b(?:amazon|flipkart|walmart|ebay)(?:\s+india)?(?:\.\w{2,3})*\b", re.IGNORECASE)
LONGEST = 800  # bytes of a message
Turns = Sequence[tuple[Role, str]]


@dataclass(frozen=True, slots=True)
class Recorded:
    """Exchanges in order: (what the customer wrote, what the agent answered)."""

    id: str
    exchanges: tuple[tuple[str, str], ...]

    @property
    def opening(self) -> str:
        return self.exchanges[0][0]


def recorded_from(conversations: Iterable[tuple[str, Turns]], shop: str, seed: int, most: int) -> list[Recorded]:
    """At most `most` of these (id, turns), in random order; real companies' names become the shop's.

    What cannot be replayed is left out: conversations without an answered message that fits the model.
    """
    found = []
    for name, turns in conversations:
        named = [(role, COMPANY.sub(shop, text).strip()) for role, text in turns]
        if exchanges := _exchanges(_joined(named)):
            found.append(Recorded(name, exchanges))
    random.Random(seed).shuffle(found)
    return found[:most]


def _joined(turns: Turns) -> Turns:
    """Messages that one side sent in a row, as one."""
    together: list[tuple[Role, str]] = []
    for role, text in turns:
        if together and together[-1][0] == role:
            together[-1] = (role, f"{together[-1][1]}\n{text}".strip())
        else:
            together.append((role, text))
    return together


def _exchanges(turns: Turns) -> tuple[tuple[str, str], ...]:
    """Leading customer-agent pairs; a conversation an agent opened starts at the customer's first message."""
    while turns and turns[0][0] != "user":
        turns = turns[1:]
    pairs: list[tuple[str, str]] = []
    for (first, asked), (second, answered) in zip(turns[::2], turns[1::2], strict=False):
        if (first, second) != ("user", "assistant") or not (_fits(asked) and _fits(answered)):
            break
        pairs.append((asked, answered))
    return tuple(pairs)


def _fits(text: str) -> bool:
    """Not empty, sendable, and so short that two exchanges fit the context: a byte is a token at most."""
    try:
        return 0 < len(text.encode()) <= LONGEST
    except UnicodeEncodeError:  # half a character
        return False
