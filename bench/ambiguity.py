"""Find patterns that match a text in so many ways that backtracking takes exponential or polynomial time.

It turns the parse tree of a compiled pattern into Glushkov's automaton, with a position for each character class.
A loop is exponential where two different paths lead from a position back to it over the same text: a pair of positions
reaches itself in the product of the automaton with itself through a pair of two different positions. It is polynomial
where one unbounded loop leads to another over a text that both can repeat (a triple product). N. Weideman, "Static
Analysis of Regular Expressions", 2017, defines both.

The result is approximate on the safe side. The first test treats repeats with a bound above UNROLLED as unbounded: too
many paths are as bad there. Assertions count as empty, and an atomic group as one character, since it can be left in
only one way; their contents are examined separately. So it may find too much, and what it cannot read counts as found.
"""

from __future__ import annotations

import re._constants as sre  # type: ignore[import-not-found]
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.patterns import Found, fits, tree

UNROLLED = 3  # of bodies with several characters
UNROLLED_SINGLE = 8
# one character for each class that patterns distinguish, upper and lower case alike
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZéÉß字"
CHARACTERS = LETTERS + "0123456789١ \t\n\u00a0-–.,'’@_/:;#%+~()[]{}<>‹›|*?!&=$€£₹\"“”^`\\\u0301\u200b\u200d\ufeff\x00"
MOST_PAIRS = 2_000_000


class Undecided(Exception):
    """A pattern that cannot be read here, or not decided in reasonable time."""


@dataclass
class _Part:
    """A part of the automaton: the positions that may come first and last, and whether it may be empty."""

    first: list[int] = field(default_factory=list)
    last: list[int] = field(default_factory=list)
    empty: bool = True


class _Automaton:
    def __init__(self, items: Iterable[Any], *, ignore_case: bool) -> None:
        self.masks: list[int] = []
        self.follow: list[set[int]] = []
        self.endless: set[int] = set()  # positions in an unbounded repeat
        self.twice: set[tuple[int, int]] = set()  # pairs where one follows the other in two ways
        self.loops = 0  # repeats around the part that is read now
        self.inner: list[tuple[Any, bool]] = []  # bodies of assertions and atomic groups
        self._sequence(items, ignore_case)

    def _sequence(self, items: Iterable[Any], ignore: bool) -> _Part:
        whole = _Part()
        for op, of in items:
            whole = self._joined(whole, self._one(op, of, ignore))
        return whole

    def _joined(self, one: _Part, two: _Part) -> _Part:
        for position in one.last:
            self.follow[position].update(two.first)
        return _Part(
            [*one.first, *(two.first if one.empty else [])],
            [*two.last, *(one.last if two.empty else [])],
            one.empty and two.empty,
        )

    def _position(self, mask: int) -> _Part:
        self.masks.append(mask)
        self.follow.append(set())
        return _Part([len(self.masks) - 1], [len(self.masks) - 1], False)

    def _one(self, op: Any, of: Any, ignore: bool) -> _Part:
        if op in (sre.LITERAL, sre.NOT_LITERAL, sre.IN, sre.ANY):
            return self._position(_mask(op, of, ignore))
        if op is sre.BRANCH:
            parts = [self._sequence(branch, ignore) for branch in of[1]]
            if self.loops and sum(part.empty for part in parts) > 1:
                raise Undecided("two branches that may be empty")  # as the parser writes (?:a|a)*
            return _Part(
                [p for x in parts for p in x.first], [p for x in parts for p in x.last], any(x.empty for x in parts)
            )
        if op is sre.SUBPATTERN:
            _, add, drop, body = of
            return self._sequence(
                body, (ignore or bool(add & sre.SRE_FLAG_IGNORECASE)) and not drop & sre.SRE_FLAG_IGNORECASE
            )
        if op is sre.ATOMIC_GROUP:
            self.inner.append((of, ignore))
            inside = _Automaton(of, ignore_case=ignore)
            mask = 0
            for each in inside.masks:
                mask |= each
            empty = _widths(of)[0] == 0
            part = self._position(mask)
            return _Part(part.first, part.last, empty)
        if op in (sre.ASSERT, sre.ASSERT_NOT):
            self.inner.append((of[1], ignore))
            return _Part()
        if op is sre.AT:
            return _Part()
        if op in (sre.MAX_REPEAT, sre.MIN_REPEAT):
            return self._repeat(of, ignore)
        raise Undecided(f"{op} is not known here")

    def _repeat(self, of: Any, ignore: bool) -> _Part:
        least, most, body = of
        single = _widths(body)[1] <= 1
        if most <= (UNROLLED_SINGLE if single else UNROLLED):
            whole = _Part()
            for n in reversed(range(most)):  # as x(x(x)?)?, not as x?x?x?, which reads in more ways
                whole = self._joined(self._sequence(body, ignore), whole)
                whole.empty = whole.empty or n >= least
            return whole
        begin = len(self.masks)
        self.loops += 1
        part = self._sequence(body, ignore)
        self.loops -= 1
        self.twice |= {(p, q) for p in part.last for q in part.first if q in self.follow[p]}  # as in (x+)+
        for position in part.last:
            self.follow[position].update(part.first)
        if most is sre.MAXREPEAT:
            self.endless.update(range(begin, len(self.masks)))
        return _Part(part.first, part.last, part.empty or least == 0)

    def exponential(self) -> bool:
        """Return whether a loop can be gone round in two ways."""
        component = _components(self.follow)
        for members in component:
            inside = set(members)
            if any(p in inside and q in inside for p, q in self.twice):
                return True
            after = {p: [q for q in self.follow[p] if q in inside] for p in members}
            # pairs that the diagonal reaches, and those that reach it
            seen: set[tuple[int, int]] = {(p, p) for p in members}
            todo = list(seen)
            before: dict[tuple[int, int], list[tuple[int, int]]] = {}
            while todo:
                a, b = todo.pop()
                for c in after[a]:
                    for d in after[b]:
                        if self.masks[c] & self.masks[d]:
                            pair = (c, d) if c <= d else (d, c)
                            if pair != (a, b):
                                before.setdefault(pair, []).append((a, b))
                            if pair not in seen:
                                seen.add(pair)
                                todo.append(pair)
                if len(seen) > MOST_PAIRS:
                    raise Undecided("too many pairs")
            if self._round(members, before):
                return True
        return False

    @staticmethod
    def _round(members: Sequence[int], before: dict[tuple[int, int], list[tuple[int, int]]]) -> bool:
        """Return whether a pair of different positions, reached from the diagonal, leads back to the diagonal.

        Within a component of the automaton every position reaches every other, but not over the same text. What counts
        is a path from the diagonal to the diagonal through the pair, since equal positions then go on as one.
        """
        back = [(p, p) for p in members]
        done = set(back)
        while back:
            for pair in before.get(back.pop(), ()):
                if pair[0] != pair[1]:
                    return True
                if pair not in done:
                    done.add(pair)
                    back.append(pair)
        return False

    def polynomial(self) -> bool:
        """Return whether one unbounded loop leads into another over a text that both repeat."""
        loops = [members for members in _components(self.follow) if self.endless.intersection(members)]
        for one in loops:
            for two in loops:
                if one is not two and any(self._leads(p, q) for p in one for q in two if self.masks[p] & self.masks[q]):
                    return True
        return False

    def _leads(self, p: int, q: int) -> bool:
        """Return whether some text leads from `p` to `p`, from `p` to `q` and from `q` to `q`."""
        todo, seen = [(p, p, q)], {(p, p, q)}
        while todo:
            a, b, c = todo.pop()
            for x in self.follow[a]:
                for y in self.follow[b]:
                    for z in self.follow[c]:
                        if self.masks[x] & self.masks[y] & self.masks[z] and (x, y, z) not in seen:
                            if (x, y, z) == (p, q, q):
                                return True
                            seen.add((x, y, z))
                            todo.append((x, y, z))
            if len(seen) > MOST_PAIRS:
                raise Undecided("too many triples")
        return False


def _widths(items: Any) -> tuple[int, int]:
    least, most = items.getwidth()
    return int(least), int(most)


def _mask(op: Any, of: Any, ignore: bool) -> int:
    members = {sre.LITERAL: [(op, of)], sre.NOT_LITERAL: [(sre.NEGATE, None), (sre.LITERAL, of)]}.get(op, of)
    mask = 0
    for i, char in enumerate(CHARACTERS):
        spellings = {char, char.lower(), char.upper()} if ignore else {char}
        if op is sre.ANY or any(len(each) == 1 and fits(each, members) for each in spellings):
            mask |= 1 << i
    if not mask and op is sre.LITERAL:
        mask = 1 << (len(CHARACTERS) + of)  # a bit for this character alone
    if not mask:
        raise Undecided("a class that no character here is in")
    return mask


def _components(follow: Sequence[set[int]]) -> list[list[int]]:
    """Return the strongly connected components that have a loop (Tarjan's algorithm, without recursion)."""
    index: dict[int, int] = {}
    low: dict[int, int] = {}
    stack: list[int] = []
    on: set[int] = set()
    found: list[list[int]] = []
    for root in range(len(follow)):
        if root in index:
            continue
        work = [(root, iter(follow[root]))]
        index[root] = low[root] = len(index)
        stack.append(root)
        on.add(root)
        while work:
            at, rest = work[-1]
            for to in rest:
                if to not in index:
                    index[to] = low[to] = len(index)
                    stack.append(to)
                    on.add(to)
                    work.append((to, iter(follow[to])))
                    break
                if to in on:
                    low[at] = min(low[at], index[to])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[at])
                if low[at] == index[at]:
                    members = []
                    while True:
                        members.append(stack.pop())
                        on.discard(members[-1])
                        if members[-1] == at:
                            break
                    if len(members) > 1 or at in follow[at]:
                        found.append(members)
    return found


def finding(found: Found) -> str | None:
    """Return 'exponential', 'polynomial', the reason why it could not be decided, or None."""
    try:
        todo: list[tuple[Any, bool]] = [(tree(found), bool(found.compiled.flags & 2))]
        while todo:
            items, ignore = todo.pop()
            automaton = _Automaton(items, ignore_case=ignore)
            todo += automaton.inner
            if automaton.exponential():
                return "exponential"
            if automaton.polynomial():
                return "polynomial"
    except (Undecided, RecursionError) as error:
        return f"undecided: {error}"
    return None
