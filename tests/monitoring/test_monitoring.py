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
from monitoring.watcher import Watcher, WatchPlan
from monitoring.windows import find_reference
from shoptalk.domain import Adapter, AdapterRef, Feedback, Turn
from shoptalk.errors import NotEnoughData
from shoptalk.models.artifacts import Artifacts
from shoptalk.rounds.requests import RoundRequests
from shoptalk.store import Store, adapters, rounds, triggers
from shoptalk.store.ingest import conversations, feature_queue, feedback, turns
from shoptalk.store.monitoring import reports
from shoptalk.store.training import datasets
from tests.clocks import now

T0 = datetime(2026, 1, 1, tzinfo=UTC)
DIM = 16
WINDOW = 20
TRAFFIC = conversations.customers_of("shop")


class TestTwoSamples:
    def test_alarms_on_equal_samples_are_as_rare_as_promised(self) -> None:
        rng = np.random.default_rng(3)
        low = 0
        for seed in range(120):
            rows = rng.normal(size=(50, 8)).astype(np.float32)
            low += mmd_test(rows[:30], rows[30:], limit=0.05, seed=seed).p_value <= 0.05
        assert low <= 13  # of 120 at 5 %: more than 13 happens once in a hundred times

    def test_a_shift_is_found(self) -> None:
        rng = np.random.default_rng(4)
        found = 0
        for seed in range(20):
            shifted = rng.normal(loc=0.8, size=(25, 8)).astype(np.float32)
            found += (
                mmd_test(rng.normal(size=(40, 8)).astype(np.float32), shifted, limit=0.01, seed=seed).p_value <= 0.01
            )
        assert found == 20

    def test_the_p_value_is_never_zero_and_the_same_again(self) -> None:
        near, far = np.zeros((10, 4), np.float32), np.ones((10, 4), np.float32)
        first = mmd_test(near, far)
        assert first == mmd_test(near, far)
        assert 0 < first.p_value < 0.01
        assert mmd_test(near, near).p_value == 1.0

    def test_as_many_permutations_are_drawn_as_the_limit_needs(self) -> None:
        rng = np.random.default_rng(5)
        one, other = rng.normal(size=(2, 30, 4)).astype(np.float32)
        far = mmd_test(one, one + 5, limit=1e-4)
        assert far.p_value <= 1e-4
        assert far.permutations >= 200_000
        assert mmd_test(one, other, limit=1e-4).permutations < 20_000  # nothing there: few say so

    def test_one_row_is_not_a_sample(self) -> None:
        with pytest.raises(ValueError, match="two rows"):
            mmd_test(np.zeros((1, 4), np.float32), np.zeros((5, 4), np.float32))


def chat(
    store: Store, count: int, *, topic: int, text: str = "Where is my order?", start: int = 0, traffic: str = TRAFFIC
) -> None:
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
            conversations.add(conn, asked.conversation_id, traffic)
            for i, turn in enumerate((asked, said)):
                turns.add(conn, turn, seq + 1 + i, f"{turn.id:0>64}")
                feature_queue.done(conn, [turn.id])
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


class Shop:
    """An adapter that is served, each trained on what was there when its dataset was frozen."""

    def __init__(self, store: Store) -> None:
        self._store, self.served, self._made = store, AdapterRef("shop", 0), 0

    def freeze(self) -> AdapterRef:
        """Freeze a dataset and register an adapter that was trained on it; it is not served yet."""
        self._made += 1
        made = AdapterRef("shop", self._made)
        with self._store.write() as conn:
            datasets.add(conn, datasets.Dataset(f"ds_{made.version}", "a" * 64, 1, 1, None, now()), [])
            adapters.add(
                conn,
                Adapter(
                    ref=made, weights_sha256="b" * 64, config_sha256="c" * 64, size_bytes=1, rank=1,
                    base_sha256="d" * 64, dataset_id=f"ds_{made.version}", run_id=f"run_{made.version}",
                    created_at=now(),
                ),
            )  # fmt: skip
        return made

    def serve(self) -> None:
        self.served = self.freeze()


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    return Artifacts(str(tmp_path / "artifacts"))


@pytest.fixture
def shop(sqlite_store: Store) -> Shop:
    return Shop(sqlite_store)


@pytest.fixture
def watcher(sqlite_store: Store, artifacts: Artifacts, shop: Shop) -> Watcher:
    return Watcher(sqlite_store, artifacts, WatchPlan("shop", WINDOW, 0.01, reference=40), lambda: shop.served)


def raised(store: Store) -> list[str]:
    with store.read() as conn:
        return [t.kind for t in triggers.newest(conn)]


def reference(store: Store, served: AdapterRef, most: int = 400) -> list[str]:
    with store.read() as conn:
        found = find_reference(conn, TRAFFIC, served, WINDOW, most)
        return [] if found is None else list(found.ids)


def test_too_few_conversations_are_not_looked_at(sqlite_store: Store, watcher: Watcher) -> None:
    assert watcher.run_once() is None
    chat(sqlite_store, 2 * WINDOW - 1, topic=0)
    assert watcher.run_once() is None
    assert watcher.check() is None
    with pytest.raises(NotEnoughData, match="SHOPTALK_DRIFT_WINDOW"):
        watcher.report()


def test_the_reference_is_what_the_served_adapter_learned_from(sqlite_store: Store, shop: Shop) -> None:
    chat(sqlite_store, 30, topic=0)
    assert reference(sqlite_store, shop.served) == [f"con_0_{n}" for n in range(WINDOW)]  # the first ones
    shop.serve()
    chat(sqlite_store, 25, topic=1)
    assert reference(sqlite_store, shop.served) == [f"con_0_{n}" for n in range(30)]
    shop.freeze()  # of a candidate that is not served
    assert reference(sqlite_store, shop.served) == [f"con_0_{n}" for n in range(30)]


def test_the_reference_is_found_however_much_came_since(sqlite_store: Store, shop: Shop) -> None:
    chat(sqlite_store, 30, topic=0)
    shop.serve()
    chat(sqlite_store, 120, topic=1)
    assert reference(sqlite_store, shop.served, most=25) == [f"con_0_{n}" for n in range(5, 30)]


def test_an_adapter_from_before_the_traffic_is_compared_with_the_first_conversations(
    sqlite_store: Store, shop: Shop
) -> None:
    chat(sqlite_store, 3, topic=1)
    shop.serve()
    chat(sqlite_store, 30, topic=0)
    assert len(reference(sqlite_store, shop.served)) == WINDOW


def test_a_conversation_that_goes_on_stays_on_its_side(sqlite_store: Store, shop: Shop, watcher: Watcher) -> None:
    chat(sqlite_store, 30, topic=0)
    shop.serve()
    chat(sqlite_store, 19, topic=1)
    with sqlite_store.write() as conn:
        for n in range(10):
            more = Turn(
                id=f"m{n}", conversation_id=f"con_0_{n}", parent_id=f"a0_{n}", role="user", text="And now?", at=now()
            )
            turns.add(conn, more, turns.last_seq(conn) + 1, f"{n:0>64}")
            conversations.add(conn, more.conversation_id, TRAFFIC)
    assert watcher.run_once() is None  # 19 are not 20


def test_only_customers_of_the_alias_count(sqlite_store: Store, shop: Shop, watcher: Watcher) -> None:
    chat(sqlite_store, 30, topic=0)
    shop.serve()
    for traffic in (conversations.IMPORT, conversations.EXACT, conversations.TEST, "alias other"):
        chat(sqlite_store, 30, topic=1, start=100 * len(traffic), traffic=traffic)
    assert watcher.run_once() is None
    assert watcher.check() is None
    assert raised(sqlite_store) == []


def test_of_workers_that_ask_at_once_one_asks(store: Store) -> None:
    ready = threading.Barrier(4)

    def work() -> None:
        requests = RoundRequests(store)
        ready.wait()
        requests.ask("drift", "test")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert raised(store) == ["drift"]


def test_a_look_waits_for_features(sqlite_store: Store, watcher: Watcher) -> None:
    chat(sqlite_store, 60, topic=0)
    with sqlite_store.write() as conn:
        turns.rewrite(conn, "u0_25", "something else", "0" * 64)
    assert watcher.run_once() is None
    with sqlite_store.write() as conn:
        feature_queue.done(conn, ["u0_25"])
    look = watcher.run_once()
    assert look is not None
    assert look.current == WINDOW - 1


def test_each_conversation_is_in_one_look(sqlite_store: Store, watcher: Watcher) -> None:
    chat(sqlite_store, 30, topic=0)
    assert watcher.missing() == 10  # 20 are the reference
    chat(sqlite_store, 29, topic=0, start=30)
    assert watcher.missing() == 0
    looks = [watcher.run_once() for _ in range(3)]
    assert [look is not None for look in looks] == [True, False, False]  # 20 are the reference, and 19 do not fill one
    assert watcher.missing() == 1
    chat(sqlite_store, 41, topic=0, start=59)
    looks = [watcher.run_once() for _ in range(4)]
    assert [look is not None for look in looks] == [True, True, True, False]
    assert all(look is None or look.p_value > 0.01 for look in looks)
    assert raised(sqlite_store) == []


def test_a_watcher_that_is_far_behind_looks_at_what_is_new(sqlite_store: Store, watcher: Watcher) -> None:
    chat(sqlite_store, 60 * WINDOW, topic=0)
    looks = [watcher.run_once() for _ in range(3)]
    assert [look is not None for look in looks] == [True, False, False]
    assert looks[0] is not None
    assert looks[0].end is not None
    assert looks[0].end.id == f"con_0_{60 * WINDOW - 1}"


def test_a_person_who_looks_changes_nothing(sqlite_store: Store, watcher: Watcher) -> None:
    chat(sqlite_store, 60, topic=0)
    assert watcher.check() is not None
    assert watcher.check() is not None
    assert [watcher.run_once() is not None for _ in range(3)] == [True, True, False]


@pytest.mark.slow
def test_drift_asks_until_a_round_changed_something(sqlite_store: Store, shop: Shop, watcher: Watcher) -> None:
    def finish(outcome: str) -> None:
        with sqlite_store.write() as conn:
            [(trigger, _)] = rounds.untaken_triggers(conn)
            rounds.open_for(conn, trigger, f"rnd_{trigger}")
            rounds.move(conn, f"rnd_{trigger}", "finish", outcome)

    chat(sqlite_store, 40, topic=0)
    shop.serve()
    chat(sqlite_store, 20, topic=1)
    look = watcher.run_once()
    assert look is not None
    assert look.p_value <= 0.01
    assert look.report_id is not None
    assert look.against == "what shop@v1 learned from"
    assert raised(sqlite_store) == ["drift"]
    chat(sqlite_store, 20, topic=1, start=20)
    again = watcher.run_once()
    assert again is not None
    assert (again.p_value <= 0.01, again.report_id) == (True, None)  # the round that was asked for is to come
    assert raised(sqlite_store) == ["drift"]
    finish("inconclusive")
    shop.freeze()  # the candidate's, which is not served
    chat(sqlite_store, 20, topic=1, start=40)
    watcher.run_once()
    assert raised(sqlite_store) == ["drift", "drift"]  # nothing changed
    finish("promote")
    shop.serve()
    chat(sqlite_store, 20, topic=1, start=60)
    after = watcher.run_once()
    assert after is not None
    assert after.p_value > 0.01  # the served adapter knows these customers
    assert raised(sqlite_store) == ["drift", "drift"]


def test_what_is_new_is_known_by_turn(sqlite_store: Store, shop: Shop, watcher: Watcher) -> None:
    assert watcher.novelty() is None
    chat(sqlite_store, 40, topic=0)
    shop.serve()
    chat(sqlite_store, 5, topic=0, start=40)
    chat(sqlite_store, 15, topic=1)
    novelty = watcher.novelty()
    assert novelty is not None
    known, new = ([v for k, v in novelty.items() if k[1] == topic] for topic in "01")
    assert max(known) < min(new)
    assert min(known) >= 0
    assert max(new) <= 1


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
    sqlite_store: Store, shop: Shop, watcher: Watcher, artifacts: Artifacts
) -> None:
    chat(sqlite_store, 40, topic=0, text=ATTACK)
    shop.serve()
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
