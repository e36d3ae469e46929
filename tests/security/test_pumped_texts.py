"""Hostile texts through the whole scrubber take no more processor time a kB than a few times that of ordinary text."""

from __future__ import annotations

import time
from contextlib import suppress
from itertools import islice

import pytest

from bench.pumped import Result, measure, texts
from ingest.scrub.analyzer import Analyzer
from ingest.scrub.normalise import aligned, normalise
from ingest.scrub.rules import net
from ingest.scrub.scrubber import LONGEST_TEXT, PresidioScrubber
from shoptalk.domain import Message
from shoptalk.errors import ScrubbingFailed

pytestmark = pytest.mark.slow

RUN_SECONDS = 120


@pytest.fixture(scope="module")
def scrubber() -> PresidioScrubber:
    return PresidioScrubber(Analyzer())


@pytest.mark.slow
def test_two_minutes_of_hostile_texts(scrubber: PresidioScrubber) -> None:
    result: Result = measure(scrubber, seconds=RUN_SECONDS)
    print(
        f"\n{result.texts} hostile texts of {result.characters // max(1, result.texts)} characters on average, "
        f"ordinary text {result.ordinary_ms_per_kb} ms a kB, the slowest {result.slowest[:3]}"
    )
    assert result.texts > 100
    assert not result.too_slow, result.slowest[: result.too_slow]


def test_the_texts_are_the_same_for_the_same_seed() -> None:
    first, again, other = (list(islice(texts(seed), 200)) for seed in (3, 3, 4))
    assert first == again != other


def test_the_texts_are_a_kilobyte_on_average_and_up_to_64() -> None:
    lengths = [len(text) for text in islice(texts(1), 3000)]
    assert 700 < sum(lengths) / len(lengths) < 1500
    assert 40_000 < max(lengths) < 65_000


def test_dates_that_read_in_two_ways_do_not_double_the_time(scrubber: PresidioScrubber) -> None:
    """A message of 520 characters once took an hour."""
    short, long = ("-".join(["2019-12-12-2019"] * n) + "-5" for n in (32, 1900))
    began = time.process_time()
    list(net.find(short))
    scrubber.scrub([Message("user", short)])
    scrubber.scrub([Message("user", long)])
    assert time.process_time() - began < 10


@pytest.mark.parametrize(
    "unit",
    [
        " ",
        " \t",
        ",\n> ",
        "a\u0301\u0316",
        "\u0301\u0316",
        "jo@a.example, ",
        "AB98765 order ",
        "12 Elm Road, ",
        "Anna Smith\n",
        "abcdefgh",
    ],
)
def test_time_grows_with_the_text_and_not_with_its_square(scrubber: PresidioScrubber, unit: str) -> None:
    """Of what once was superlinear: patterns, loops, normalising, Presidio's look for context."""

    def seconds(n: int) -> float:
        tries = []
        for i in range(2):  # never the same text: the scrubber remembers
            text = f"order {'ok ' * i}" + unit * (n // len(unit))
            began = time.process_time()
            with suppress(ScrubbingFailed):  # too many values
                scrubber.scrub([Message("user", text[:n])])
            tries.append(time.process_time() - began)
        return min(tries)

    most = LONGEST_TEXT - 100
    assert seconds(most) < 3 * seconds(most // 2) + 0.1


def test_harmless_is_what_it_was() -> None:
    for text in (
        "2019-12-12",
        "12.12.2019",
        "2019 - 2023",
        "1.50-2.00",
        "12 2019-12-12 3",
        "2019-12-12-2019",
        "12.10-13.10",
    ):
        assert net.harmless(text), text
    for text in (
        "",
        "5",
        "2019-12-12-5",
        "20191212",
        "2019-12-12----2019",
        "2019-13-12",
        "2019-12-12-",
        "1234 5678 9012",
    ):
        assert not net.harmless(text), text


def test_long_runs_of_marks_are_broken_up_and_stay_so() -> None:
    text = "a" + "\u0301\u0316" * 200 + "b"
    plain = normalise(text)
    assert normalise(plain) == plain == aligned(text)[0]
    assert plain.replace("\u034f", "").count("\u0316") == 200
    assert normalise("e\u0301" * 100) == "é" * 100
