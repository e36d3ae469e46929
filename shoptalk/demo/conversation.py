"""Recorded conversations that the demo replays: a customer's messages and the replies of a good agent."""

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
    """A recorded conversation: (the customer's message, the agent's answer), in order."""

    id: str
    exchanges: tuple[tuple[str, str], ...]

    @property
    def opening(self) -> str:
        return self.exchanges[0][0]


def recorded_from(conversations: Iterable[tuple[str, Turns]], shop: str, seed: int, most: int) -> list[Recorded]:
    """Return at most `most` of these (id, turns), in random order; names of real companies become the shop's.

    Conversations that cannot be replayed are left out: those without an answered message that fits the model.
    """
    found = []
    for name, turns in conversations:
        named = [(role, COMPANY.sub(shop, text).strip()) for role, text in turns]
        if exchanges := _exchanges(_joined(named)):
            found.append(Recorded(name, exchanges))
    random.Random(seed).shuffle(found)
    return found[:most]


def _joined(turns: Turns) -> Turns:
    """Join messages that one side sent in a row."""
    together: list[tuple[Role, str]] = []
    for role, text in turns:
        if together and together[-1][0] == role:
            together[-1] = (role, f"{together[-1][1]}\n{text}".strip())
        else:
            together.append((role, text))
    return together


def _exchanges(turns: Turns) -> tuple[tuple[str, str], ...]:
    """Return the pairs of customer and agent from the customer's first message on, until one does not fit."""
    while turns and turns[0][0] != "user":
        turns = turns[1:]
    pairs: list[tuple[str, str]] = []
    for (first, asked), (second, answered) in zip(turns[::2], turns[1::2], strict=False):
        if (first, second) != ("user", "assistant") or not (_fits(asked) and _fits(answered)):
            break
        pairs.append((asked, answered))
    return tuple(pairs)


def _fits(text: str) -> bool:
    """Return whether a text is not empty, can be sent, and is short enough for two exchanges to fit the context.

    A token is at least one byte.
    """
    try:
        return 0 < len(text.encode()) <= LONGEST
    except UnicodeEncodeError:  # half a character
        return False
