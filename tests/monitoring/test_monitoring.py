"""Drift: the test, the windows, the watcher and its reports, on real rows."""

from __future__ import annotations

import re
import threading
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from monitoring.mmd import mmd_test
from monitoring.watcher import Watcher
from monitoring.windows import read_windows
from shoptalk.domain import Feedback, Turn
from shoptalk.errors import NotEnoughData
from shoptalk.models.artifacts import Artifacts
from shoptalk.store import Store, rounds
from shoptalk.store.ingest import feedback, turns
from shoptalk.store.monitoring import reports, triggers
from shoptalk.store.training import datasets
from tests.clocks import now

T0 = datetime(2026, 1, 1, tzinfo=UTC)
DIM = 16
WINDOW = 20


class TestTwoSamples:
    def test_alarms_on_equal_samples_are_as_rare_as_promised(self) -> None:
        rng = np.random.default_rng(3)
        low = 0
        for seed in range(120):
            rows = rng.normal(size=(50, 8)).astype(np.float32)
            low += mmd_test(rows[:30], rows[30:], permutations=99, seed=seed).p_value <= 0.05
        assert low <= 13  # of 120 at 5 %: more than 13 happens once in a hundred times

    def test_a_shift_is_found(self) -> None:
        rng = np.random.default_rng(4)
        found = 0
        for seed in range(20):
            shifted = rng.normal(loc=0.8, size=(25, 8)).astype(np.float32)
            found += (
                mmd_test(rng.normal(size=(40, 8)).astype(np.float32), shifted, permutations=199, seed=seed).p_value
                <= 0.01
            )
        assert found == 20

    def test_the_p_value_is_never_zero_and_the_same_again(self) -> None:
        near, far = np.zeros((10, 4), np.float32), np.ones((10, 4), np.float32)
        first = mmd_test(near, far)
        assert first == mmd_test(near, far)
        assert first.p_value == pytest.approx(1 / 1000, rel=1)
        assert mmd_test(near, near).p_value == 1.0

    def test_one_row_is_not_a_sample(self) -> None:
        with pytest.raises(ValueError, match="two rows"):
            mmd_test(np.zeros((1, 4), np.float32), np.zeros((5, 4), np.float32))


def chat(store: Store, count: int, *, topic: int, text: str = "Where is my order?", start: int = 0) -> None:
    """Conversations of one exchange each; messages of a topic have similar embeddings."""
    rng = np.random.default_rng(start + 1000 * topic)
    with store.write() as conn:
        for n in range(start, start + count):
            seq = turns.last_seq(conn)
            name = f"{topic}_{n}"
            at = T0 + timedelta(minutes=seq)
            asked = Turn(
                id=f"u{name}", conversation_id=f"con_{name}", parent_id=None, role="user", text=f"{text} {n}", at=at
            )
            said = Turn(
                id=f"a{name}",
                conversation_id=f"con_{name}",
                parent_id=asked.id,
                role="assistant",
                text=f"Reply {n}. {text}",
                at=at,
                inference_id=f"inf_{name}",
            )
            vector = rng.normal(scale=0.3, size=DIM)
            vector[topic] += 2.0
            vector /= np.linalg.norm(vector)
            for i, turn in enumerate((asked, said)):
                turns.add(conn, turn, seq + 1 + i, f"{turn.id:0>64}")
                row = turns.Features(turn.id, 20, 4 + n % 5, n % 7 == 0, vector.astype("<f4").tobytes())
                turns.add_features(conn, turns.FEATURES, [row])
            feedback.add(
                conn,
                Feedback(
                    id=f"fb_{name}",
                    conversation_id=f"con_{name}",
                    inference_id=f"inf_{name}",
                    metric="thumbs",
                    value=float(n % 2),
                    comment=None,
                    created_at=at,
                ),
            )


def freeze(store: Store, name: str) -> None:
    with store.write() as conn:
        datasets.add(conn, datasets.Dataset(name, "a" * 64, 1, 1, None, now()), [])


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    return Artifacts(str(tmp_path / "artifacts"))


@pytest.fixture
def watcher(sqlite_store: Store, artifacts: Artifacts) -> Watcher:
    return Watcher(sqlite_store, artifacts, WINDOW, 0.01)


def raised(store: Store) -> list[str]:
    with store.read() as conn:
        return [t.kind for t in triggers.newest(conn)]


def test_too_few_conversations_make_no_windows(sqlite_store: Store, watcher: Watcher) -> None:
    assert watcher.run_once() is None
    chat(sqlite_store, WINDOW, topic=0)
    assert read_windows(sqlite_store, WINDOW, turns.FEATURES) is None
    assert watcher.check() is None
    with pytest.raises(NotEnoughData, match="SHOPTALK_DRIFT_WINDOW"):
        watcher.report()


def test_windows_meet_where_the_dataset_was_frozen(sqlite_store: Store) -> None:
    chat(sqlite_store, 30, topic=0)
    freeze(sqlite_store, "ds_1")
    chat(sqlite_store, 25, topic=1)
    windows = read_windows(sqlite_store, WINDOW, turns.FEATURES)
    assert windows is not None
    assert {c.id[4] for c in windows.reference} == {"0"}
    assert [c.id for c in windows.current] == [f"con_1_{n}" for n in range(5, 25)]
    assert windows.until == 110
    assert len(windows.reference) == 30
    assert np.linalg.norm(windows.current[0].embedding) == pytest.approx(1.0, abs=1e-5)


def test_a_conversation_that_goes_on_stays_on_its_side(sqlite_store: Store) -> None:
    chat(sqlite_store, 30, topic=0)
    freeze(sqlite_store, "ds_1")
    chat(sqlite_store, 25, topic=1)
    with sqlite_store.write() as conn:
        for n in range(10):
            more = Turn(
                id=f"m{n}", conversation_id=f"con_0_{n}", parent_id=f"a0_{n}", role="user", text="And now?", at=now()
            )
            turns.add(conn, more, turns.last_seq(conn) + 1, f"{n:0>64}")
    windows = read_windows(sqlite_store, WINDOW, turns.FEATURES)
    assert windows is not None
    assert {c.id[4] for c in windows.reference} == {"0"}
    assert {c.id[4] for c in windows.current} == {"1"}


def test_the_reference_is_found_however_much_came_since(sqlite_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    chat(sqlite_store, 30, topic=0)
    freeze(sqlite_store, "ds_1")
    chat(sqlite_store, 120, topic=1)
    monkeypatch.setattr("monitoring.windows.REFERENCE", 25)
    windows = read_windows(sqlite_store, WINDOW, turns.FEATURES)
    assert windows is not None
    assert [c.id for c in windows.reference] == [f"con_0_{n}" for n in range(5, 30)]
    assert [c.id for c in windows.current] == [f"con_1_{n}" for n in range(100, 120)]


def test_of_workers_that_see_the_same_one_asks_for_a_round(store: Store, artifacts: Artifacts) -> None:
    ready = threading.Barrier(4)

    def work() -> None:
        watcher = Watcher(store, artifacts, WINDOW, 0.01)
        ready.wait()
        watcher.on_schedule(3600.0)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert raised(store) == ["schedule"]


def test_conversations_without_embeddings_are_left_out(sqlite_store: Store) -> None:
    chat(sqlite_store, 60, topic=0)
    assert read_windows(sqlite_store, WINDOW, "another-version") is not None
    windows = read_windows(sqlite_store, WINDOW, "another-version")
    assert windows is not None
    assert len(windows.current) == 0
    assert Watcher(sqlite_store, Artifacts("memory://none"), WINDOW, 0.01).check() is not None  # with its own version


def test_no_drift_raises_nothing(sqlite_store: Store, watcher: Watcher) -> None:
    chat(sqlite_store, 60, topic=0)
    check = watcher.run_once()
    assert check is not None
    assert check.p_value > 0.01
    assert watcher.run_once() is None  # nothing new to look at
    assert raised(sqlite_store) == []


@pytest.mark.slow
def test_drift_raises_one_trigger_until_there_is_a_new_reference(sqlite_store: Store, watcher: Watcher) -> None:
    chat(sqlite_store, 40, topic=0)
    freeze(sqlite_store, "ds_1")
    chat(sqlite_store, 25, topic=1)
    check = watcher.run_once()
    assert check is not None
    assert check.p_value <= 0.01
    assert check.report_id is not None
    assert raised(sqlite_store) == ["drift"]
    chat(sqlite_store, 5, topic=1, start=25)
    again = watcher.run_once()
    assert again is not None
    assert (again.p_value <= 0.01, again.report_id) == (True, None)
    assert raised(sqlite_store) == ["drift"]
    freeze(sqlite_store, "ds_2")
    chat(sqlite_store, 25, topic=2)
    watcher.run_once()
    assert raised(sqlite_store) == ["drift", "drift"]


def test_a_round_for_drift_asks_for_what_is_new(sqlite_store: Store, watcher: Watcher) -> None:
    chat(sqlite_store, 40, topic=0)
    freeze(sqlite_store, "ds_1")
    chat(sqlite_store, 5, topic=0, start=40)
    chat(sqlite_store, 15, topic=1)
    trigger = watcher.trigger("drift", "test")
    other = watcher.trigger("person", "test")
    with sqlite_store.write() as conn:
        rounds.open_for(conn, trigger.id, "rnd_1")
        rounds.open_for(conn, other.id, "rnd_2")
    novelty = watcher.novelty("rnd_1")
    assert novelty is not None
    known, new = ([v for k, v in novelty.items() if k[1] == topic] for topic in "01")
    assert max(known) < min(new)
    assert min(known) >= 0
    assert max(new) <= 1
    assert watcher.novelty("rnd_2") is None
    assert watcher.novelty("rnd_9") is None


def test_the_clock_asks_once_in_its_time(sqlite_store: Store, watcher: Watcher) -> None:
    assert watcher.on_schedule(3600.0) is not None
    assert watcher.on_schedule(3600.0) is None
    assert raised(sqlite_store) == ["schedule"]


ATTACK = "<script>alert(1)</script><img src=x onerror=alert(2)></script><!--"


class Page(HTMLParser):
    """Collects what a page would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if tag != "a" and name in ("src", "href") and value:
                self.fetched.append(value)


@pytest.mark.slow
def test_a_report_is_one_page_that_opens_offline_and_runs_nothing_a_customer_wrote(
    sqlite_store: Store, watcher: Watcher, artifacts: Artifacts
) -> None:
    chat(sqlite_store, 40, topic=0, text=ATTACK)
    freeze(sqlite_store, "ds_1")
    chat(sqlite_store, 25, topic=1, text=ATTACK)
    state = np.random.get_state()[1]
    report = watcher.report(f"Drift {ATTACK}"[:200])
    assert (np.random.get_state()[1] == state).all()  # type: ignore[index]
    html = artifacts.get(report.artifact_sha256).decode()
    assert html.lstrip()[:200].lower().find("<html") >= 0
    page = Page()
    page.feed(html)
    assert [url for url in page.fetched if re.match(r"(https?:)?//", url)] == []
    assert "<script>alert" not in html
    assert "<img src=x" not in html
    assert report.summary
    assert any("message" in name for name in report.summary)
    with sqlite_store.read() as conn:
        assert reports.find(conn, report.id) == report
