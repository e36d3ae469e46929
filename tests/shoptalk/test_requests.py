"""Requests for rounds: of each kind at most one waits, schedules go by the calendar, and new labels count once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from shoptalk.clock import Clock
from shoptalk.errors import ConfigurationError
from shoptalk.rounds.requests import FROZEN, RoundRequests
from shoptalk.settings import load_settings
from shoptalk.store import Store, cursors, rounds, triggers
from shoptalk.store.labeling import labels
from tests.clocks import ManualTime
from tests.rows import label

WEEKLY = "0 3 * * MON"


@pytest.fixture
def time() -> ManualTime:
    return ManualTime(datetime(2026, 3, 4, 12, tzinfo=UTC))  # a Wednesday


@pytest.fixture
def timed(tmp_path: Path, time: ManualTime) -> Iterator[Store]:
    store = Store(f"sqlite:///{tmp_path / 'timed.db'}", Clock(business=time))
    store.migrate()
    yield store
    store.close()


def take(store: Store) -> list[str]:
    """Start a round for what waits, end it, and return the kinds."""
    with store.write() as conn:
        waiting = rounds.untaken_triggers(conn)
        for id, _ in waiting:
            rounds.open_for(conn, id, f"rnd_{id}")
            rounds.move(conn, f"rnd_{id}", "finish", "promote")
    return [kind for _, kind in waiting]


def test_of_a_kind_one_request_waits(store: Store) -> None:
    requests = RoundRequests(store)
    first = requests.ask("person", "one")
    assert requests.ask("person", "two") == first
    assert requests.ask("drift", "p = 0.001") != first
    assert sorted(take(store)) == ["drift", "person"]
    assert requests.ask("person", "three") != first


def test_a_schedule_asks_at_its_times_in_its_zone(timed: Store, time: ManualTime) -> None:
    requests = RoundRequests(timed)
    asked = []
    for _ in range(24 * 14):
        if requests.on_schedule(WEEKLY, "Europe/Berlin"):
            asked.append(time.now())
        take(timed)
        time.advance(hours=1)
    assert asked == [datetime(2026, 3, 9, 2, tzinfo=UTC), datetime(2026, 3, 16, 2, tzinfo=UTC)]


def test_times_that_passed_while_no_worker_ran_count_once(timed: Store, time: ManualTime) -> None:
    requests = RoundRequests(timed)
    assert requests.on_schedule(WEEKLY, "UTC") is None  # the first time is yet to come
    time.advance(days=30)
    assert requests.on_schedule(WEEKLY, "UTC") is not None
    assert take(timed) == ["schedule"]
    assert requests.on_schedule(WEEKLY, "UTC") is None


def test_a_schedule_does_not_queue_behind_a_round(timed: Store, time: ManualTime) -> None:
    requests = RoundRequests(timed)
    requests.on_schedule("0 * * * *", "UTC")
    for _ in range(7 * 24):  # while a round trains for a week, say
        time.advance(hours=1)
        requests.on_schedule("0 * * * *", "UTC")
    assert take(timed) == ["schedule"]


def test_new_labels_ask_once(store: Store) -> None:
    requests = RoundRequests(store)
    with store.write() as conn:
        for n in range(3):
            labels.put(conn, label(str(n)))
    assert requests.on_labels(4) is None
    assert requests.on_labels(3) is not None
    with store.write() as conn:
        [(trigger, _)] = rounds.untaken_triggers(conn)
        rounds.open_for(conn, trigger, "rnd_1")
        labels.put(conn, label("3"))
    assert requests.on_labels(1) is None  # a round is under way
    with store.write() as conn:
        rounds.move(conn, "rnd_1", "finish", "not_enough_data")
    assert requests.on_labels(3) is None  # though it froze nothing
    with store.write() as conn:
        cursors.put(conn, FROZEN, labels.count(conn))  # as a freeze does
    with store.write() as conn:
        labels.put(conn, label("3"))  # the same again is not new
    assert requests.on_labels(1) is None
    with store.read() as conn:
        assert triggers.waiting(conn, "labels") is None


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("SHOPTALK_ROUND_SCHEDULE", "every monday", "write '0 3 * * MON'"),
        ("SHOPTALK_ROUND_SCHEDULE", "99 3 * * *", "write '0 3 * * MON'"),
        ("SHOPTALK_ROUND_TIMEZONE", "Berlin", "write UTC or Europe/Berlin"),
        ("SHOPTALK_ROUND_TIMEZONE", "../etc/passwd", "write UTC or Europe/Berlin"),
    ],
)
def test_wrong_schedules_are_refused(monkeypatch: pytest.MonkeyPatch, variable: str, value: str, said: str) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError, match=variable) as caught:
        load_settings()
    assert said in str(caught.value)
