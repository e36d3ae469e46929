"""Scrubbing in processes: the same outcomes, each text within its deadline, and nothing held or left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ingest.scrub.scrubber import PresidioScrubber
from ingest.scrub.workers import pool as module
from ingest.scrub.workers.deadline import allowance
from ingest.scrub.workers.pool import LONGEST_CONVERSATION, ScrubberPool
from shoptalk.domain import Message, Role
from shoptalk.errors import ConfigurationError, ScrubberUnavailable, ScrubbingFailed, ScrubbingTimedOut

pytestmark = pytest.mark.slow

MARK = "held"
LONG = f"{MARK} " + "ask Zorla Quuxley about the parcel, " * 700
PATTERN = r"\bZZ~\w{4}\b"


@pytest.fixture(scope="module")
def pool() -> Iterator[ScrubberPool]:
    made = ScrubberPool([PATTERN])
    made.start()
    yield made
    made.close()


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts with a mark get a few milliseconds, which their length does not allow."""

    def allowed(texts: Iterable[str]) -> float:
        every = list(texts)
        return 0.02 if any(MARK in text for text in every) else allowance(every)

    monkeypatch.setattr(module, "allowance", allowed)


def user(*texts: str) -> list[Message]:
    return [Message("user", text) for text in texts]


CHATS: list[list[tuple[Role, str]]] = [
    [
        ("user", "Tomasz Zelinsky here, order ZZ~ab12"),
        ("assistant", "Your city?"),
        ("user", "leeds, call 0123 456 7890"),
    ],
    [("user", "lone \ud800 surrogate, <PERSON_1> typed, Größe 42 – 你好 🙂 jo@x.example"), ("user", "")],
    [("system", "be brief"), ("user", "hello"), ("assistant", "hi Farida"), ("user", "farida walling here")],
]


@pytest.mark.parametrize("trusted", [False, True])
def test_outcomes_are_the_same_as_in_one_process(pool: ScrubberPool, scrubber: PresidioScrubber, trusted: bool) -> None:
    chats = [[Message(role, text) for role, text in chat] for chat in CHATS]
    records = [{"name": "Zelinsky"}, {}, {"order": ["A-1", "B-2"]}]
    here = scrubber.scrub_many(chats, records, trusted=trusted)
    there = pool.scrub_many(chats, records, trusted=trusted)
    for one, other in zip(here, there, strict=True):
        assert not isinstance(one, ScrubbingFailed)
        assert not isinstance(other, ScrubbingFailed)
        assert (one.texts, one.final, one.counts, one.found) == (other.texts, other.final, other.counts, other.found)
        assert [one.vault.fill(text) for text in one.final] == [other.vault.fill(text) for text in other.final]
    history = ["hi <PERSON_1>"]
    words = "<PERSON_1> met Tomasz Zelinsky"
    assert pool.scrub_correction(history, words) == scrubber.scrub_correction(history, words)
    assert (
        pool.remaining("hello", "call 0123 456 7890") == {"PHONE_NUMBER": 1} == scrubber.remaining("call 0123 456 7890")
    )
    assert pool.remaining() == {}


def test_failures_have_the_same_words(pool: ScrubberPool, scrubber: PresidioScrubber) -> None:
    for messages in (user("x" * 40_000), user("hi", "a" * 32_001)):
        with pytest.raises(ScrubbingFailed) as here:
            scrubber.scrub(messages)
        with pytest.raises(ScrubbingFailed) as there:
            pool.scrub(messages)
        assert here.value.message == there.value.message
    good, bad = pool.scrub_many([user("fine"), user("x" * 40_000)])
    assert not isinstance(good, ScrubbingFailed)
    assert isinstance(bad, ScrubbingFailed)


def test_the_longest_conversation(pool: ScrubberPool) -> None:
    with pytest.raises(ScrubbingFailed, match="longer than"):
        pool.scrub(user(*["y" * 30_000] * (1 + LONGEST_CONVERSATION // 30_000)))


@pytest.mark.usefixtures("short")
def test_a_text_is_ended_at_its_deadline_and_the_next_one_is_answered(pool: ScrubberPool) -> None:
    for _ in range(4):  # more often than there are workers
        with pytest.raises(ScrubbingTimedOut):
            pool.scrub(user(LONG))
        assert pool.scrub(user("mail jo@x.example")).final == ("mail <EMAIL_ADDRESS_1>",)


@pytest.mark.usefixtures("short")
def test_of_texts_read_together_only_the_one_is_ended(pool: ScrubberPool) -> None:
    made = pool.scrub_many([user("mail jo@x.example"), user(LONG), user("I am Zorla Quuxley")])
    kinds = [isinstance(each, ScrubbingTimedOut) for each in made]
    assert kinds == [False, True, False]


@pytest.mark.usefixtures("short")
def test_texts_that_are_ended_hold_nobody_else() -> None:
    made = ScrubberPool(size=2)
    try:
        made.start()
        stop = threading.Event()
        ended: list[int] = []

        def hostile() -> None:
            while not stop.is_set():
                with pytest.raises(ScrubbingTimedOut):
                    made.scrub(user(LONG))
                ended.append(1)

        with ThreadPoolExecutor(6) as threads:
            attacks = [threads.submit(hostile) for _ in range(2)]
            until(lambda: len(ended) >= 2)
            honest = [threads.submit(made.scrub, user(f"mail jo{i}@x.example")) for i in range(20)]
            assert all(each.result(60).final == ("mail <EMAIL_ADDRESS_1>",) for each in honest)
            stop.set()
            for each in attacks:
                each.result(60)
    finally:
        made.close()


def test_a_worker_that_hangs_without_computing_is_ended_by_the_clock() -> None:
    made = ScrubberPool(size=1, patience=2.0)
    try:
        made.start()
        for process in made._idle:
            os.kill(process.pid, signal.SIGSTOP)
        with pytest.raises(ScrubbingTimedOut):
            made.scrub(user("hello"))
        assert made.scrub(user("mail jo@x.example")).final == ("mail <EMAIL_ADDRESS_1>",)
    finally:
        made.close()


def test_what_dies_is_replaced_for_no_fault_of_the_texts(pool: ScrubberPool) -> None:
    for process in list(pool._idle):
        os.kill(process.pid, signal.SIGKILL)
        assert pool.scrub(user("mail jo@x.example")).final == ("mail <EMAIL_ADDRESS_1>",)
    template = pool._template._process.pid
    os.kill(template, signal.SIGKILL)
    for process in list(pool._idle):
        os.kill(process.pid, signal.SIGKILL)
    until(lambda: all(not alive(process.pid) for process in pool._idle))
    assert pool.scrub(user("mail jo@x.example")).final == ("mail <EMAIL_ADDRESS_1>",)
    assert pool._template._process.pid != template


def test_signals_for_the_whole_group_are_left_to_the_caller(pool: ScrubberPool) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        for pid in (pool._template._process.pid, *(process.pid for process in pool._idle)):
            os.kill(pid, number)
    assert pool.scrub(user("mail jo@x.example")).final == ("mail <EMAIL_ADDRESS_1>",)


def test_memory_is_bounded(pool: ScrubberPool) -> None:
    pid = pool._idle[0].pid
    limits = Path(f"/proc/{pid}/limits").read_text()
    (space,) = (line for line in limits.splitlines() if line.startswith("Max address space"))
    assert space.split()[3] != "unlimited"
    assert "Max core file size        0 " in limits
    assert len(list(Path(f"/proc/{pool._template._process.pid}/task").iterdir())) == 1  # else a fork is not whole


def test_a_closed_pool_says_so_and_opens_again() -> None:
    made = ScrubberPool([r"\bQQ\d\b"], size=1)
    made.start()
    pids = [made._template._process.pid, *(process.pid for process in made._idle)]
    made.close()
    until(lambda: not any(map(alive, pids)))
    with pytest.raises(ScrubberUnavailable):
        made.scrub(user("hello"))
    made.start()
    assert made.scrub(user("hello")).final == ("hello",)
    made.close()


def test_pools_of_a_process_load_once_and_close_apart() -> None:
    one, other = ScrubberPool([r"\bQX\d\b"], size=1), ScrubberPool([r"\bQX\d\b"], size=2)
    for each in (one, other):
        each.start()
    template = one._template._process.pid
    assert other._template._process.pid == template
    workers = [[process.pid for process in each._idle] for each in (one, other)]
    assert [len(pids) for pids in workers] == [2, 3]
    one.close()
    until(lambda: not any(map(alive, workers[0])))
    with pytest.raises(ScrubberUnavailable):
        one.scrub(user("hello"))
    assert other.scrub(user("mail jo@x.example")).final == ("mail <EMAIL_ADDRESS_1>",)
    one.start()
    assert one._template._process.pid == template
    other.close()
    one.close()
    one.close()
    until(lambda: not alive(template))


def test_a_wrong_pattern_is_named() -> None:
    made = ScrubberPool(["(unclosed"])
    with pytest.raises(ConfigurationError, match=r"order_id_patterns\[0\]"):
        made.start()
    made.close()


@pytest.mark.parametrize("ending", ["killed", "ended", "collected"])
def test_no_process_outlives_its_caller(ending: str) -> None:
    code = f"""
import gc, os, sys, time
from ingest.scrub.workers.pool import ScrubberPool
made = ScrubberPool(size=1)
made.start()
print(made._template._process.pid, *(each.pid for each in made._idle), flush=True)
if {ending!r} == "collected":
    import warnings
    warnings.simplefilter("error")  # an unclosed socket is reported to stderr
    del made
    gc.collect()
    print("done", flush=True)
    time.sleep(600)
elif {ending!r} == "killed":
    time.sleep(600)
"""
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout is not None
    pids = list(map(int, child.stdout.readline().split()))
    assert len(pids) == 3
    if ending == "killed":
        child.kill()
    elif ending == "collected":
        child.stdout.readline()
    try:
        until(lambda: not any(map(alive, pids)))
    finally:
        child.kill()
        _, said = child.communicate()
    assert "ResourceWarning" not in said


def test_no_text_is_written_anywhere(pool: ScrubberPool, capfd: pytest.CaptureFixture[str]) -> None:
    process = pool._take(None)
    with pytest.raises(module._Ended):  # what no caller sends: the worker ends, and says only that it did
        pool._answer(process, {"do": "many", "conversations": ["Zorla Quuxley"], "records": [], "trusted": 0}, 5.0)
    pool._put_back(pool._template.replace(process)[0])
    captured = capfd.readouterr()
    assert "Quuxley" not in captured.out + captured.err


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def until(true: Callable[[], Any], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)
