"""All compiled patterns of the product, and texts made of each pattern's own pieces that try to make it slow.

Patterns are found by walking the modules, so new ones need no listing: module-level patterns (in tuples and
dictionaries too), the rules of `ingest.scrub.rules` and Presidio's own as they are built, and those built from a
customer's record. pydantic's are left out: Rust's `regex`, which takes linear time, matches them.

Pieces come from a pattern's parse tree: a sample of the whole in which one repeat is pumped, or the repeat's body.
"""

from __future__ import annotations

import importlib
import pkgutil
import random
import re
import re._constants as sre  # type: ignore[import-not-found]
import re._parser as sre_parse  # type: ignore[import-not-found]
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

PACKAGES = ("chatbot", "ingest", "labeling", "training", "monitoring", "shoptalk")
PIECES = 24  # of one pattern, at most
LONGEST_PIECE = 200
# samples of a character class are drawn from those of these that are in it
ALPHABET = "aAbeéÉß1579 \t\n-–.,'’@_/:;#%+~()[]{}<>|*?!&=$€\"“”\u0301\u200d\x00"
ENDS = ("", "\x00", "!", "@", "5", "x", "-", "\n")
JOINTS = ("", " ", "-", ".", ", ", "\n")


@dataclass(frozen=True)
class Found:
    """A compiled pattern of `re` or `regex`, the name of its definition, and texts in which it is known to match."""

    name: str
    compiled: Any
    examples: tuple[str, ...] = ()

    @property
    def source(self) -> str:
        return str(self.compiled.pattern)

    @property
    def of_regex(self) -> bool:
        return not isinstance(self.compiled, re.Pattern)


@cache
def every() -> tuple[Found, ...]:
    """Return all patterns, each once."""
    found: dict[tuple[str, int], Found] = {}
    names: Counter[str] = Counter()
    for each in (*_of_rules(), *_of_records(), *_of_modules()):
        if (each.source, each.compiled.flags) in found:
            continue
        names[each.name] += 1
        again = names[each.name] > 1
        named = replace(each, name=f"{each.name} ({names[each.name]})") if again else each
        found[each.source, each.compiled.flags] = named
    return tuple(found.values())


def _of_modules() -> Iterator[Found]:
    for package in PACKAGES:
        for info in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
            if info.name.endswith("__main__") or ".migrations." in info.name:
                continue
            for name, value in vars(importlib.import_module(info.name)).items():
                yield from _within(f"{info.name}.{name}", value)


def _within(name: str, value: object, depth: int = 2) -> Iterator[Found]:
    if isinstance(value, re.Pattern) or type(value).__module__ == "_regex":
        yield Found(name, value)
    elif depth and isinstance(value, Mapping):
        for key, each in value.items():
            yield from _within(f"{name}[{key!r}]", each, depth - 1)
    elif depth and isinstance(value, (tuple, list, set, frozenset)):
        for i, each in enumerate(value):
            yield from _within(f"{name}[{i}]", each, depth - 1)


def _of_rules() -> Iterator[Found]:
    """Yield the rules and Presidio's own recognizers, compiled as the product compiles them."""
    from ingest.scrub.presidio.engine import compiled_patterns
    from ingest.scrub.rules.recognizers import RULES

    examples = {rule.pattern: (*(text for text, _ in rule.finds), *rule.spares) for rule in RULES}
    for name, pattern in compiled_patterns(RULES):
        yield Found(f"rule {name}", pattern, examples.get(pattern.pattern, ()))


def _of_records() -> Iterator[Found]:
    from ingest.scrub.context.record import DenyList

    values = {"name": "Jo  O'Neil", "phone": "+1 (555) 010-0123", "email": "jo@mail.example", "address": "1 A st, Town"}
    record = DenyList(values)  # its patterns are the customer's values, escaped
    for pattern, kind in record._exact:
        yield Found(f"record {kind}", pattern, tuple(values.values()))


def tree(found: Found) -> Any:
    """Return the parse tree.

    What only `regex` knows is replaced by something close: `\\K` by nothing, `\\p{L}` by letters.
    """
    source = found.source
    if found.of_regex:
        source = source.replace(r"\K", "").replace(r"[\p{L}", "[a-zA-Zé").replace(r"[\p{Lu}", "[A-ZÉ")
        source = source.replace(r"\p{Lu}", "[A-ZÉ]").replace(r"\p{L}", "[a-zA-ZéÉ]")
    flags = found.compiled.flags & (re.IGNORECASE | re.MULTILINE | re.DOTALL | re.ASCII | re.VERBOSE)
    return sre_parse.parse(source, flags)


@cache
def pieces(found: Found) -> tuple[tuple[str, str], ...]:
    """Return pairs (text before, text to repeat), made of the pattern's repeats, the whole of it, and its examples.

    They are the same in each run.
    """
    rng = random.Random(found.source)
    parsed = tree(found)
    made: dict[tuple[str, str], None] = {}
    for text in found.examples[:3]:
        made[("", text[:LONGEST_PIECE])] = None
    sampler = _Sampler(rng)
    for _ in range(4):
        made[("", sampler.text(parsed))] = None
    repeats = sampler.repeats(parsed)
    rng.shuffle(repeats)
    for before, body in repeats * 2:
        made[(sampler.text(before), sampler.text(body))] = None
        made[("", sampler.text(body))] = None
    texts = [(before[-LONGEST_PIECE:], each[:LONGEST_PIECE]) for before, each in made if each]
    return tuple(dict.fromkeys(texts))[:PIECES]


def pumped(found: Found, length: int) -> Iterator[str]:
    """Yield texts of about this length that repeat one of the pattern's pieces and end in what does not fit."""
    rng = random.Random(found.source)
    for before, piece in pieces(found):
        for joint in ("", rng.choice(JOINTS[1:])):
            unit = piece + joint
            body = before + unit * (length // len(unit)) + piece
            for end in rng.sample(ENDS, 2):
                yield body[: length - len(end)] + end


class _Sampler:
    """Makes texts that a parse tree matches, its assertions aside."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def text(self, items: Iterable[Any]) -> str:
        return "".join(self._one(op, of) for op, of in items)

    def repeats(self, items: Iterable[Any]) -> list[tuple[list[Any], list[Any]]]:
        """Return (all items before, body) of every repeat that may match more than once, at any depth."""
        found: list[tuple[list[Any], list[Any]]] = []
        before: list[Any] = []
        for op, of in items:
            for body in self._bodies(op, of):
                found += [([*before, *inner], repeated) for inner, repeated in self.repeats(body)]
            if op in (sre.MAX_REPEAT, sre.MIN_REPEAT) and of[1] > 1:
                found.append((list(before), [(op, (max(1, of[0]), max(1, of[0]), of[2]))]))
            before.append((op, of))
        return found

    @staticmethod
    def _bodies(op: Any, of: Any) -> list[Any]:
        if op in (sre.MAX_REPEAT, sre.MIN_REPEAT):
            return [of[2]]
        if op is sre.SUBPATTERN:
            return [of[3]]
        if op is sre.ATOMIC_GROUP:
            return [of]
        if op is sre.BRANCH:
            return list(of[1])
        if op in (sre.ASSERT, sre.ASSERT_NOT):
            return [of[1]]
        return []

    def _one(self, op: Any, of: Any) -> str:
        if op is sre.LITERAL:
            return chr(of)
        if op is sre.NOT_LITERAL:
            return self._pick([(sre.NEGATE, None), (sre.LITERAL, of)])
        if op is sre.ANY:
            return self._rng.choice("ab1 -.")
        if op is sre.IN:
            return self._pick(of)
        if op is sre.BRANCH:
            return self.text(self._rng.choice(of[1]))
        if op is sre.SUBPATTERN:
            return self.text(of[3])
        if op is sre.ATOMIC_GROUP:
            return self.text(of)
        if op in (sre.MAX_REPEAT, sre.MIN_REPEAT):
            least, most, body = of
            times = self._rng.choice((least, min(int(most), least + 1), min(int(most), least + 3)))
            return "".join(self.text(body) for _ in range(times))
        return ""  # assertions, positions and references

    def _pick(self, members: Any) -> str:
        fitting = [char for char in ALPHABET if fits(char, members)]
        if not fitting:
            fitting = [
                chr(of) if op is sre.LITERAL else chr(of[0]) for op, of in members if op in (sre.LITERAL, sre.RANGE)
            ]
        return self._rng.choice(fitting) if fitting else ""


def fits(char: str, members: Any) -> bool:
    """Return whether the character is in a class, given as the parser's members."""
    negated = bool(members) and members[0][0] is sre.NEGATE
    inside = any(_member(char, op, of) for op, of in members if op is not sre.NEGATE)
    return inside != negated


def _member(char: str, op: Any, of: Any) -> bool:
    if op is sre.LITERAL:
        return ord(char) == of
    if op is sre.RANGE:
        return bool(of[0] <= ord(char) <= of[1])
    return _CATEGORIES[of].fullmatch(char) is not None


_CATEGORIES = {
    sre.CATEGORY_DIGIT: re.compile(r"\d"),
    sre.CATEGORY_NOT_DIGIT: re.compile(r"\D"),
    sre.CATEGORY_SPACE: re.compile(r"\s"),
    sre.CATEGORY_NOT_SPACE: re.compile(r"\S"),
    sre.CATEGORY_WORD: re.compile(r"\w"),
    sre.CATEGORY_NOT_WORD: re.compile(r"\W"),
}
