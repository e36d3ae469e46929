"""No pattern of the product takes more than time linear in the text, whatever the text.

Every compiled pattern is found by walking the modules, and pumped with pieces of itself up to 64 kB, in a process of
its own, so that a hang fails the test. Compared is the processor time at n and 2n.
"""

from __future__ import annotations

import ast
import importlib
import re
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from queue import Empty
from typing import Any

import pytest

from bench import patterns
from bench.patterns import PACKAGES, Found, every, pumped

pytestmark = pytest.mark.slow

LENGTHS = ((4_000, 1), (64_000, 16))  # characters, and how many texts for each one that is tried
FLOOR_SECONDS = 0.03  # under which nothing is compared
PROCESSES = 2
GROWTH = 3.0  # from n to 2n; 4 is quadratic, 2 is linear
HANGS_SECONDS = 30  # of processor time, for one pattern: others may keep the machine busy
LIMIT_SECONDS = 600
SHORTCUTS = {"match", "search", "fullmatch", "finditer", "findall", "sub", "subn", "split"}


def _ways(found: Found, text: str) -> Iterator[tuple[str, Callable[[], object]]]:
    limited = {"timeout": HANGS_SECONDS} if found.of_regex else {}
    yield "finditer", lambda: sum(1 for _ in found.compiled.finditer(text, **limited))
    yield "fullmatch", lambda: found.compiled.fullmatch(text, **limited)


def _seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def _superlinear(found: Found) -> str | None:
    """What makes it slow, if anything does. Lengths grow, so that what is worse than quadratic shows early."""
    for length, step in LENGTHS:
        for text in islice(pumped(found, length), 0, None, step):
            for way, work in _ways(found, text):
                if _seconds(work) < FLOOR_SECONDS:
                    continue
                half = dict(_ways(found, text[: len(text) // 2] + text[-1:]))[way]
                if (both := _grows(work, half)) is not None:
                    return f"{way} of {length} characters takes {both[0]:.2f} s, half {both[1]:.2f} s: {text[:60]!r}"
    return None


def _grows(work: Callable[[], object], half: Callable[[], object]) -> tuple[float, float] | None:
    """Return the seconds of both where the whole takes far longer than twice the half.

    The best of several counts, taken by turns: another process may have had the caches.
    """
    pairs = [(_seconds(work), _seconds(half)) for _ in range(7)]
    whole, part = min(pair[0] for pair in pairs), min(pair[1] for pair in pairs)
    return (whole, part) if whole > FLOOR_SECONDS and whole > GROWTH * part else None


def _pump(named: list[str], answers: Any) -> None:
    def hung(*_: object) -> None:
        raise TimeoutError("hangs")

    signal.signal(signal.SIGPROF, hung)
    by_name = {found.name: found for found in every()}
    for name in named:
        answers.put((name, "began"))
        signal.setitimer(signal.ITIMER_PROF, HANGS_SECONDS)
        try:
            slow = _superlinear(by_name[name])
        except TimeoutError:
            slow = f"does not end within {HANGS_SECONDS} seconds"
        signal.setitimer(signal.ITIMER_PROF, 0)
        answers.put((name, slow))
    answers.put((None, None))


def pump(named: list[str]) -> dict[str, str]:
    """Name -> what is wrong, of patterns that are superlinear; in a process that is ended where it hangs."""
    context = get_context("spawn")
    answers = context.Queue()
    worker = context.Process(target=_pump, args=(named, answers))
    worker.start()
    slow: dict[str, str] = {}
    at = ""
    ends = time.monotonic() + LIMIT_SECONDS
    try:
        while True:
            name, answer = answers.get(timeout=max(0.1, ends - time.monotonic()))
            if name is None:
                return slow
            at = name
            if answer not in (None, "began"):
                slow[name] = answer
    except Empty:
        return {**slow, at: "the process did not answer any more"}
    finally:
        worker.kill()
        worker.join()


@pytest.mark.slow
def test_every_pattern_takes_linear_time() -> None:
    names = [found.name for found in every()]
    with ThreadPoolExecutor(PROCESSES) as pool:
        shares = list(pool.map(pump, (names[n::PROCESSES] for n in range(PROCESSES))))
    assert {name: why for share in shares for name, why in share.items()} == {}


def test_patterns_that_are_found_are_those_that_the_product_has() -> None:
    names = {found.name for found in every()}
    assert len(names) == len(every()) > 150
    for part in (
        "ingest.scrub.rules.net.",
        "ingest.scrub.rules.addresses.",
        "ingest.scrub.context.asked.",
        "rule PERSON",
        "rule EmailRec",
        "record ",
    ):
        assert any(name.startswith(part) for name in names), part
    assert all(patterns.pieces(found) for found in every())


def test_texts_are_made_of_what_a_pattern_matches() -> None:
    """Else pumping would show nothing: of nearly all patterns some piece is found by the pattern itself."""
    blind = [
        found.name
        for found in every()
        if not any(found.compiled.search(text) for text in (*pumped(found, 400), *found.examples))
    ]
    assert len(blind) < len(every()) / 5, blind


def test_patterns_are_compiled_where_they_can_be_found() -> None:
    """`re.search("...", text)` in a function hides a pattern from these tests."""
    hidden = [
        f"{path}:{node.lineno}"
        for package in PACKAGES
        for folder in importlib.import_module(package).__path__
        for path in Path(folder).rglob("*.py")
        if path.name != "probes.py"  # whose patterns are looked for in our own model's short replies
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id in ("re", "regex")
        and node.func.attr in SHORTCUTS
    ]
    assert not hidden


def test_no_possessive_repeats() -> None:
    """Before Python 3.11.5 they match wrongly."""
    possessive = re.compile(r"(?<!\\)(?:[*+?]|\{\d*,?\d*\})\+")
    assert not [found.name for found in every() if not found.of_regex and possessive.search(_without_classes(found))]


def _without_classes(found: Found) -> str:
    return re.sub(r"\[(?:\\.|[^\]\\])*\]", "x", re.sub(r"\\.", "x", found.source))


@pytest.mark.parametrize(
    "pattern",
    [r"(?:a|a)*b", r"(?:\d+[ -]?)+x", r"\s*,?\s*\n", r"(?:x+x+)+y"],
)
def test_the_pump_sees_what_is_superlinear(pattern: str) -> None:
    context = get_context("spawn")
    with context.Pool(1) as pool:
        assert pool.apply(_superlinear_or_hung, (pattern,))


def _superlinear_or_hung(pattern: str) -> bool:
    def hung(*_: object) -> None:
        raise TimeoutError

    signal.signal(signal.SIGPROF, hung)
    signal.setitimer(signal.ITIMER_PROF, 5)
    try:
        return _superlinear(Found("tried", re.compile(pattern))) is not None
    except TimeoutError:
        return True
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
