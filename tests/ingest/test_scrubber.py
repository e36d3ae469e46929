"""The scrubber's promises: causal, deterministic, fail-closed, and nothing planted survives."""

from __future__ import annotations

import random
import re
import socket
import string
import subprocess
import sys
import threading
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.scrub.analyzer import Analyzer
from ingest.scrub.presidio import engine as presidio_module
from ingest.scrub.scrubbed import Scrubbed
from ingest.scrub.scrubber import LONGEST_TEXT, PresidioScrubber
from ingest.scrub.spans import Span
from shoptalk.domain import Message
from shoptalk.errors import ConfigurationError, ScrubbingFailed

FRAMES = [
    "{} is mine", "my order {} is late", "call {}!", "it's {}, ok?", "first {} then more", "({})", "no:{}", "{}",
    "Hello, the number is {} and I am upset", "contact me: {} asap",
]  # fmt: skip


def planted(rng: random.Random) -> list[str]:
    """Random values of every strict kind, in many forms."""

    def d(n: int) -> str:
        return "".join(rng.choices(string.digits, k=n))

    def w(n: int) -> str:
        return "".join(rng.choices(string.ascii_lowercase, k=n))

    return [
        f"{w(6)}.{w(4)}@{w(7)}.{rng.choice(['invalid', 'example', 'test', 'com', 'co.in'])}",
        f"{w(6)} at {w(7)} dot com",
        f"{rng.randint(100, 999)}-{d(7)}-{d(7)}",
        f"{rng.randint(100, 999)}-{d(6)}-{d(7)}",
        f"#{d(6)}",
        f"ORD-{rng.randint(2019, 2026)}-{d(5)}",
        f"{rng.choice(string.ascii_uppercase)}{rng.choice(string.ascii_uppercase)}{d(8)}",
        f"+{rng.randint(1, 99)} {d(5)} {d(5)}",
        f"({d(3)}) {d(3)}-{d(4)}",
        f"0{d(2)}.{d(4)}.{d(4)}",
        f"{d(4)} {d(4)} {d(4)} {d(4)}",
        f"{d(4)}-{d(4)}-{d(4)}-{d(4)}",
        d(16),
        d(rng.randint(5, 12)),
    ]


def core(value: str) -> list[str]:
    """What of a value must be gone: runs of three or more letters or digits that are no common word."""
    return [run for run in re.findall(r"\d{4,}|[a-z]{6,}", value) if run not in ("number", "example", "invalid")]


def test_nothing_planted_survives(scrubber: PresidioScrubber) -> None:
    rng = random.Random(20260101)
    for _ in range(200):
        values = rng.sample(planted(rng), 3)
        messages = [
            Message("user" if i % 2 == 0 else "assistant", rng.choice(FRAMES).format(values[i % 3])) for i in range(4)
        ]
        scrubbed = scrubber.scrub(messages)
        for text in (*scrubbed.texts, *scrubbed.final):
            bare = re.sub(r"<[A-Z_]+_\d+>", "|", text)
            for value in values:
                assert value not in bare
                assert not any(run in bare for run in core(value)), f"{value!r} in {text!r}"
            assert not re.search(r"\d{5}|\S@\S", bare)


def test_a_prefix_scrubs_to_a_prefix(scrubber: PresidioScrubber) -> None:
    messages = [
        Message("user", "Priyanka here is what i wrote to priyanka"),
        Message("assistant", "May I have your full name?"),
        Message("user", "priyanka bhosle"),
        Message("assistant", "Thanks Priyanka, and the order?"),
        Message("user", "123-1234567-1234567, BHOSLE"),
    ]
    whole = scrubber.scrub(messages)
    for n in range(len(messages) + 1):
        assert scrubber.scrub(messages[:n]).texts == whole.texts[:n]
    assert "priyanka" not in " ".join(whole.final).lower()
    assert "bhosle" not in " ".join(whole.texts).lower()
    assert whole.vault.fill(whole.texts[2]) == "priyanka bhosle"


def test_values_found_late_are_carried_back_in_final_only(scrubber: PresidioScrubber) -> None:
    messages = [Message("user", "it was Violet who packed it"), Message("user", "my name is violet")]
    scrubbed = scrubber.scrub(messages)
    assert scrubbed.texts[0] == "it was Violet who packed it"
    assert scrubbed.final[0] == "it was <PERSON_1> who packed it"
    assert scrubbed.counts == ({}, {"PERSON": 1})


def test_a_short_value_that_was_filled_in_is_found_again_in_what_the_shop_said(scrubber: PresidioScrubber) -> None:
    asked = Message("user", "where is my order #123, it was due 123 days ago")
    said = Message("assistant", "Your order 123 is on its way, in 1234 boxes.")
    result = scrubber.scrub([asked, said])
    assert result.texts[1] == "Your order <ORDER_ID_1> is on its way, in 1234 boxes."
    assert "123 days" in result.texts[0]


def test_names(scrubber: PresidioScrubber) -> None:
    def one(*texts: str) -> str:
        roles = ("assistant", "user") if len(texts) == 2 else ("user",)
        return scrubber.scrub([Message(r, t) for r, t in zip(roles, texts, strict=True)]).texts[-1]  # type: ignore[arg-type]

    assert one("my name is John Smith and I'm unhappy") == "my name is <PERSON_1> and I'm unhappy"
    assert one("May I have your name, please?", "wanjiru otieno") == "<PERSON_1>"
    assert one("May I have your name, please?", "no why") == "no why"
    assert one("Which product is it?", "kindle paperwhite") == "kindle paperwhite"
    assert one("Please refund me, Thanks") == "Please refund me, Thanks"
    assert one("I will wait, will you?") == "I will wait, will you?"


def test_literal_placeholders(scrubber: PresidioScrubber) -> None:
    scrubbed = scrubber.scrub([Message("user", "<PERSON_1> ＜ORDER_ID_2＞ my name is Zorblat")])
    assert scrubbed.texts[0] == "‹PERSON_1› ‹ORDER_ID_2› my name is <PERSON_1>"
    assert scrubbed.vault.fill("‹PERSON_1› <PERSON_1>") == "<PERSON_1> Zorblat"


def test_corrections(scrubber: PresidioScrubber) -> None:
    history = ["I'm <PERSON_2>", "Your order <ORDER_ID_1>?"]
    text, counts = scrubber.scrub_correction(
        history, "Dear <PERSON_2>, <ORDER_ID_7> was 123-1234567-1234567; write to a@b.example or 123-1234567-1234567"
    )
    assert text == "Dear <PERSON_2>, <ORDER_ID_7> was <ORDER_ID_8>; write to <EMAIL_ADDRESS_1> or <ORDER_ID_8>"
    assert counts == {"ORDER_ID": 2, "EMAIL_ADDRESS": 1}
    assert scrubber.scrub_correction([], "All fine.") == ("All fine.", {})


def test_too_long_fails_closed(scrubber: PresidioScrubber) -> None:
    with pytest.raises(ScrubbingFailed):
        scrubber.scrub([Message("user", "a " * LONGEST_TEXT)])
    long = "please help me with this " * (LONGEST_TEXT // 25)
    assert scrubber.scrub([Message("user", long)]).texts == (long,)


HOSTILE = ["9" * 32000, "1 " * 16000, "a@" * 16000, "<" * 32000, "<A_1>" * 6000, "\x00" * 99]
HOSTILE += [
    "A" * 32000,
    "Aa-" * 10000,
    "A-" * 16000,
    "Aa " * 10000,
    "a" * 32000,
    "my " * 10000,
    "12 aa " * 5000,
    "Aa\n" * 10000,
]


@pytest.mark.timeout(60)  # nothing may take time that grows with the square of its length
@pytest.mark.parametrize("bad", HOSTILE, ids=lambda bad: repr(bad[:6]))
def test_hostile_texts_pass_or_are_refused(scrubber: PresidioScrubber, bad: str) -> None:
    problem, outcome = "", ""
    try:
        outcome = scrubber.scrub([Message("user", bad)]).texts[0]
    except ScrubbingFailed as error:
        problem = str(error)
    assert bad[:20] not in problem
    assert not scrubber.remaining(outcome)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.characters(codec=None, exclude_categories=()), max_size=60))
def test_any_text(scrubber: PresidioScrubber, text: str) -> None:
    first = scrubber.scrub([Message("user", text)])
    first.texts[0].encode("utf-8")
    assert scrubber.scrub([Message("user", text)]).texts == first.texts
    assert not scrubber.remaining(first.texts[0])


class Broken:
    """A finder that fails, quoting the text as careless libraries do."""

    def find(self, texts: Sequence[str], kinds: object = (), protected: object = ()) -> list[list[Span]]:
        raise ValueError(f"cannot handle {texts}")

    def is_word(self, word: str) -> bool:
        return False


class Hesitant:
    """Sees 'Frobes' only once no other name stands before it."""

    def find(self, texts: Sequence[str], kinds: object = (), protected: object = ()) -> list[list[Span]]:
        return [
            [Span(*m.span(), "PERSON") for m in re.finditer(r"Jo\b|Wanjiru|(?<=<PERSON_1> and )Frobes", t)]
            for t in texts
        ]

    def is_word(self, word: str) -> bool:
        return False


def test_what_only_the_outcome_shows_is_found_too() -> None:
    scrubber = PresidioScrubber(Hesitant())
    said = [Message("user", "Jo and Frobes, for Wanjiru"), Message("user", "Frobes!"), Message("user", "hello")]
    (made,) = scrubber.scrub_many([said], trusted=True)
    assert isinstance(made, Scrubbed)
    assert made.final == ("<PERSON_1> and <PERSON_3>, for <PERSON_2>", "<PERSON_3>!", "hello")
    assert [[m.content[s.start : s.end] for s in spans] for m, spans in zip(said, made.found, strict=True)] == [
        ["Jo", "Frobes", "Wanjiru"],
        ["Frobes"],
        [],
    ]
    assert [dict(each) for each in made.counts] == [{"PERSON": 3}, {"PERSON": 1}, {}]
    assert made.vault.fill(made.final[0]) == said[0].content


def test_an_outcome_is_not_too_long_to_be_scrubbed_again(scrubber: PresidioScrubber) -> None:
    text = "#4417 " * (LONGEST_TEXT // 6)
    (once,) = scrubber.scrub_many([[Message("user", text)]], trusted=True)
    assert isinstance(once, Scrubbed)
    assert len(once.final[0]) > LONGEST_TEXT
    (again,) = scrubber.scrub_many([[Message("user", once.final[0])]], trusted=True)
    assert isinstance(again, Scrubbed)
    assert again.final == once.final


class Splitting:
    """Finds a value in every second letter: placeholders are far longer than what they replace."""

    def find(self, texts: Sequence[str], kinds: object = (), protected: object = ()) -> list[list[Span]]:
        return [[Span(i, i + 1, "ACCOUNT_NUMBER") for i in range(0, len(text), 2)] for text in texts]

    def is_word(self, word: str) -> bool:
        return False


def test_an_outcome_that_the_inbox_would_refuse_is_a_failure() -> None:
    with pytest.raises(ScrubbingFailed, match="the scrubbed text is longer than"):
        PresidioScrubber(Splitting()).scrub([Message("user", "a " * (LONGEST_TEXT // 2))])


def test_marks_and_joiners_leave_with_the_letter_they_belong_to(scrubber: PresidioScrubber) -> None:
    for text in ("mail jo@shop.example\u0338 now", "mail ü\u200djo@shop.example now"):
        (once,) = scrubber.scrub_many([[Message("user", text)]], trusted=True)
        assert isinstance(once, Scrubbed)
        (again,) = scrubber.scrub_many([[Message("user", once.final[0])]], trusted=True)
        assert isinstance(again, Scrubbed)
        assert again.final == once.final


def test_errors_fail_closed_and_quote_nothing() -> None:
    with pytest.raises(ScrubbingFailed, match="ValueError") as caught:
        PresidioScrubber(Broken()).scrub([Message("user", "secret words")])
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_a_slow_pattern_fails_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = PresidioScrubber(Analyzer([r"(?:(?:(?:a|aa)+)+)+#\b"]))
    monkeypatch.setattr(presidio_module, "TIMEOUT_SECONDS", 0.2)
    with pytest.raises(ScrubbingFailed, match="PatternTimedOut"):
        slow.scrub([Message("user", "a" * 3000)])


@pytest.mark.parametrize("pattern", ["(", "a*"])
def test_a_wrong_pattern_of_the_shop_is_named(pattern: str) -> None:
    with pytest.raises(ConfigurationError, match=r"order_id_patterns\[0\]"):
        Analyzer([pattern])


def test_importing_is_cheap_and_loads_neither_presidio_nor_torch() -> None:
    code = (
        "import sys, ingest.scrub, ingest.inbox.acceptance, ingest.inbox.drain, ingest.imports.importer;"
        "import ingest.features.computer;"
        "print([m for m in ('presidio_analyzer', 'spacy', 'torch', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the scrubber called out")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    made = PresidioScrubber(Analyzer())
    assert made.scrub([Message("user", "mail me: jo@shop.co.uk")]).texts == ("mail me: <EMAIL_ADDRESS_1>",)


def test_threads(scrubber: PresidioScrubber) -> None:
    texts = [f"my name is Zorblat, order ORD-{i}-00123" for i in range(20)]
    outcomes: list[str] = []

    def work() -> None:
        outcomes.extend(scrubber.scrub([Message("user", t)]).texts[0] for t in texts)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(outcomes) == {"my name is <PERSON_1>, order <ORDER_ID_1>"}
    assert len(outcomes) == 80


def test_nothing_is_logged(scrubber: PresidioScrubber, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    scrubber.scrub(
        [Message("user", "I am Zorblat Quux, jo@quux.example, DE00 0000 0000 0000 0000 00, 4111111111111112")]
    )
    assert not re.search(r"(?i)zorblat|quux|4111|DE00", caplog.text)
