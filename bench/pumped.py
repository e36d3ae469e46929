"""Hostile texts through the whole scrubber: processor time a kB, beside ordinary chats in the same run.

Usage: python -m bench.pumped [--texts N] [--seconds N] [--seed N] [--processes N] [--json OUT]

Texts are made from a seed: repeated pieces of every pattern (`bench.patterns`), joined by separators and ended by
something that does not fit; runs of blanks, digits, marks, joiners, dots, hyphens and @; very long words; names,
addresses and placeholders by the thousand; all of these within chats. Mean 1 kB, up to 64 kB. A text is too slow where
it takes more than 5 times the processor time of as much ordinary text plus 20 ms. A text refused for its length counts
as read.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from bench.patterns import ENDS, JOINTS, every, pieces
from bench.retail import chats
from shoptalk.domain import Message
from shoptalk.errors import ScrubbingFailed
from shoptalk.ports import Scrubber

TIMES = 5.0
EXTRA_SECONDS = 0.02
TRIES = 3  # of a text that seems too slow, each slightly changed: the scrubber remembers, and machines hiccup
ORDINARY = 60  # ordinary texts at the start
EACH = 50  # one more ordinary text after this many hostile ones
RUNS = (
    " ", "\t", "\n", "\r\n", "\u00a0", "\u200b", "\u200d", "\u0301", "\u0301\u0316", "a\u0301", "\u093c\u094d", "1", "9 ", "1-",
    "@", ".", "-", "'", "’", "_", "/", "\\", "(", ")", "<", ">", "‹", "›", "\x00", "a", "A", "é", "ﬁ", "١", "字", "한", "ᄀ", "ᅡ", "😀",
    "👩\u200d👩", "\ud800", "\ufeff", "I", "İ", "ß", "a.", "a-", "a'", "A b ", "ab, ", "1.1", "@a", "a@a.", "#1", "+1", "$1 ", "x1",
)  # fmt: skip
# units whose repetition once took time exponential, or polynomial, in their number
ATTACKS = (
    "2019-12-12-2019-", "12.12.19.99 ", "1.10-13.10-", "12 12 19 ", " ", " \t", "\t,", ",\n> ", "\n", "here is ", "is it my name is ", "12 a.",
    "a.b ", "jo@a.b ", "jo@a.example, ", "AB98765 order ", "12 Elm Road\n", "12 Elm Road,", "anna ", "anna smith, ", "Anna Smith\n", "ANNA SMITH ",
    "a\u0301\u0316", "\u0301\u0316\u0327", "ab1c", "abcdefgh", "x@", "!#", "1/", "1-a-", "a-a.", "mr. x ", "hi anna. ", "apt 4 ", "<PERSON_1>", "‹PERSON_1›",
    "no, ", "name? ", "my son ", "\n- ", "\u200d", "A\u200d",
)  # fmt: skip
WORDS = (
    "ann", "Anna", "maria", "jo", "O'Neil", "de", "la", "van", "may", "will", "grace", "street", "road", "apt 4", "12", "4500",
    "12345", "london", "Paris", "usa", "SW1A 1AA", "and", "or", "my name is", "i am", "this is", "hi", "thanks", "dr.", "mr", "mrs",
    "order", "order number", "#", "card", "phone", "at", "dot", "gmail.com", "jo@mail.example", "555-0100", "4111 1111 1111 1111",
    "2019-12-12", "12.12.2019", "2019", "1.50", "<PERSON_1>", "<ORDER_ID_2>", "‹PERSON_1›", "<PERSON_", "is", "the", "?", "name?",
    "what is your name?", "GB82WEST12345698765432", "1.2.3.4", "::1", "https://a.example/b", "www.x.com/yz", "@jo_doe", "password is x1y2",
    "tomorow", "farida", "Xqzt", "zxcvb", "ORD-2024-00123", "AB98765", "d-i-n-e-s-h", "k o w a l s k i",
)  # fmt: skip


def texts(seed: int = 1) -> Iterator[str]:
    """Yield texts without end, the same for the same seed and patterns."""
    rng = random.Random(seed)
    patterns = every()
    around = [turn["text"] for row in chats(40, seed) for turn in row["turns"]]
    makers = (_pumped, _pumped, _soup, _runs, _words, _within, _attack)
    while True:
        made = rng.choice(makers)(rng, _length(rng), patterns, around)
        yield made


def _length(rng: random.Random) -> int:
    """Return a length; about 1,000 on average."""
    which = rng.random()
    if which < 0.85:
        return rng.randint(20, 600)
    return rng.randint(600, 4000) if which < 0.995 else rng.randint(4000, 64_000)


def _piece(rng: random.Random, patterns: Any) -> tuple[str, str]:
    return rng.choice(pieces(rng.choice(patterns)) or (("", "a"),))


def _pumped(rng: random.Random, length: int, patterns: Any, around: list[str]) -> str:
    before, piece = _piece(rng, patterns)
    unit = piece + (rng.choice(JOINTS) if rng.random() < 0.6 else "")
    return (before + unit * (length // len(unit) + 1))[:length] + rng.choice(ENDS)


def _attack(rng: random.Random, length: int, patterns: Any, around: list[str]) -> str:
    """Repeat what was once slow, at lengths that are not refused, so that it shows."""
    units = rng.sample(ATTACKS, rng.choice((1, 1, 2)))
    if rng.random() < 0.1:
        length = rng.randint(2000, 32_000)
    body = (rng.choice(("", "jo ", "12 ", "12 Elm Road\n")) + "".join(units) * length)[:length]
    return body[: length - 1] + rng.choice(("5", "@", "!", "x"))


def _soup(rng: random.Random, length: int, patterns: Any, around: list[str]) -> str:
    parts = [part for _ in range(rng.randint(2, 6)) for part in _piece(rng, patterns)]
    joint = rng.choice(JOINTS)
    return _joined(rng, length, parts, lambda: joint)


def _runs(rng: random.Random, length: int, patterns: Any, around: list[str]) -> str:
    if rng.random() < 0.5:
        return (rng.choice(("", "jo ", "12 ", "@")) + rng.choice(RUNS) * length)[:length] + rng.choice(ENDS)
    parts = [rng.choice(RUNS) * rng.choice((1, 1, 3, 30, 300)) for _ in range(rng.randint(2, 5))]
    return _joined(rng, length, parts, lambda: "")


def _words(rng: random.Random, length: int, patterns: Any, around: list[str]) -> str:
    some = rng.sample(WORDS, rng.choice((1, 2, 4, len(WORDS))))
    joint = rng.choice((" ", " ", ", ", "\n", "-", "."))
    numbered = rng.random() < 0.3  # all values differ
    words = _joined(rng, length, some, lambda: joint + (f"{_word(rng)}{joint}" if numbered else ""))
    return words.upper() if rng.random() < 0.1 else words


def _word(rng: random.Random) -> str:
    return "".join(rng.choices("abcdefghiklmnoprstuvwxyzAJ159@.-'", k=rng.randint(1, 12)))


def _within(rng: random.Random, length: int, patterns: Any, around: list[str]) -> str:
    """Put a pumped part among ordinary words."""
    inner = rng.choice((_pumped, _runs, _words))(rng, max(1, length // 2), patterns, around)
    before = _joined(rng, length // 4, around, lambda: " ")
    return f"{before} {inner} {_joined(rng, length // 4, around, lambda: ' ')}"[:length]


def _joined(rng: random.Random, length: int, parts: list[str], joint: Callable[[], str]) -> str:
    made, size = [], 0
    while size < length:
        each = rng.choice(parts) + joint()
        made.append(each)
        size += max(1, len(each))
    return "".join(made)[:length]


def ordinary(seed: int = 1) -> Iterator[str]:
    """Yield made-up chats, about a kB each."""
    said = ""
    for n in range(1_000_000):
        for row in chats(100, seed=1000 * seed + n):
            for turn in row["turns"]:
                said = f"{said}\n{turn['text']}" if said else turn["text"]
                if len(said) >= 1000:
                    yield said
                    said = ""


@dataclass
class Result:
    """The result of a run. `slowest` has (seconds divided by the limit, seconds, characters, beginning and end)."""

    texts: int = 0
    characters: int = 0
    refused: int = 0
    seconds: float = 0.0
    ordinary_ms_per_kb: float = 0.0
    too_slow: int = 0
    slowest: list[tuple[float, float, int, str]] = field(default_factory=list)


def measure(
    scrubber: Scrubber,
    *,
    most: int | None = None,
    seconds: float | None = None,
    seed: int = 1,
    clock: Callable[[], float] = time.process_time,
) -> Result:
    """Scrub `most` texts, or for `seconds` by the wall clock. `clock` is the processor time of whatever scrubs."""
    result = Result()
    usual = ordinary(seed)
    used = length = 0.0

    def cost(text: str) -> float:
        began = clock()
        try:
            scrubber.scrub([Message("user", text)])
        except ScrubbingFailed:
            result.refused += 1
        return clock() - began

    cost("warm up")
    ends = None if seconds is None else time.monotonic() + seconds
    for text in texts(seed):
        if (most is not None and result.texts >= most) or (ends is not None and time.monotonic() >= ends):
            break
        for _ in range(ORDINARY if not length else result.texts % EACH == 0):
            each = next(usual)
            used, length = used + cost(each), length + len(each)
        limit = TIMES * used / length * len(text) + EXTRA_SECONDS
        spent = cost(text)
        result.seconds += spent
        for n in range(1, TRIES):
            if spent <= limit:
                break
            spent = min(spent, cost(text + "x" * n))
        result.texts += 1
        result.characters += len(text)
        result.too_slow += spent > limit
        result.slowest.append((round(spent / limit, 2), round(spent, 4), len(text), f"{text[:50]!r}...{text[-20:]!r}"))
        result.slowest = sorted(result.slowest, reverse=True)[:20]
    result.ordinary_ms_per_kb = round(1e6 * used / max(1.0, length), 2)
    return result


def run(most: int | None, seconds: float | None, seed: int) -> Result:
    """Run one process's share."""
    from ingest.scrub.analyzer import Analyzer
    from ingest.scrub.scrubber import PresidioScrubber

    return measure(PresidioScrubber(Analyzer()), most=most, seconds=seconds, seed=seed)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--texts", type=int)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    most = options.texts and -(-options.texts // options.processes)
    if not most and not options.seconds:
        parser.error("give --texts or --seconds")
    with ProcessPoolExecutor(options.processes, mp_context=get_context("spawn")) as pool:
        shares = [pool.submit(run, most, options.seconds, options.seed + n) for n in range(options.processes)]
        results = [share.result() for share in shares]
    total = Result(
        texts=sum(r.texts for r in results),
        characters=sum(r.characters for r in results),
        refused=sum(r.refused for r in results),
        seconds=round(sum(r.seconds for r in results), 1),
        ordinary_ms_per_kb=round(sum(r.ordinary_ms_per_kb for r in results) / len(results), 2),
        too_slow=sum(r.too_slow for r in results),
        slowest=sorted((each for r in results for each in r.slowest), reverse=True)[:20],
    )
    print(json.dumps(asdict(total), indent=1, ensure_ascii=True))
    if options.json:
        options.json.write_text(json.dumps(asdict(total), indent=1) + "\n")


if __name__ == "__main__":
    main()
