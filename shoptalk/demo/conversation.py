"""Recorded conversations the demo replays: a customer's messages and the replies a good agent gave."""

from __future__ import annotations

import gzip
import json
import random
import re
from dataclasses import dataclass
from pathlib import Path

from shoptalk.errors import InvalidInput

COMPANY = re.compile(r"\b(?:amazon|flipkart|walmart|ebay)(?:\s+india)?(?:\.\w{2,3})*\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Recorded:
    """Exchanges in order: (what the customer wrote, what the agent answered)."""

    id: str
    exchanges: tuple[tuple[str, str], ...]

    @property
    def opening(self) -> str:
        return self.exchanges[0][0]


def read_recorded(path: Path, shop: str, seed: int, most: int) -> list[Recorded]:
    """At most `most` conversations of a file, in random order; real companies' names become the shop's."""
    found: list[Recorded] = []
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
                turns = [(str(t["role"]), COMPANY.sub(shop, str(t["text"])).strip()) for t in row["turns"]]
                name = str(row["conversation_id"])
            except (ValueError, KeyError, TypeError) as error:
                raise InvalidInput(f"{path.name}, line {number}: not a conversation ({error})", field="data") from None
            if exchanges := _exchanges(turns):
                found.append(Recorded(name, exchanges))
    random.Random(seed).shuffle(found)
    return found[:most]


def _exchanges(turns: list[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Leading customer-agent pairs; a conversation an agent opened starts at the customer's first message."""
    while turns and turns[0][0] != "customer":
        turns = turns[1:]
    pairs: list[tuple[str, str]] = []
    for (first, asked), (second, answered) in zip(turns[::2], turns[1::2], strict=False):
        if (first, second) != ("customer", "agent") or not asked or not answered:
            break
        pairs.append((asked, answered))
    return tuple(pairs)
