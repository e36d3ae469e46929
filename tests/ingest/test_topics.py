"""Topics divide messages by what they are about, and a model stays until messages are many more."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from ingest.features import topics as module
from ingest.features.topics import Topics, fit
from ingest.inbox.drain import content_hash
from shoptalk.domain import Turn
from shoptalk.store import Store
from shoptalk.store.ingest import topics, turns
from shoptalk.store.ingest.turns import FEATURES, Features
from tests.clocks import now

ABOUT = 4


def add(store: Store, first: int, count: int) -> None:
    """Messages about ABOUT things in turn, with embeddings that say so."""
    noise = np.random.default_rng(first)
    with store.write() as conn:
        for n in range(first, first + count):
            vector = 0.1 * noise.normal(size=16)
            vector[n % ABOUT] += 1
            raw = (vector / np.linalg.norm(vector)).astype("<f4").tobytes()
            turn = Turn(
                id=f"t{n:05}",
                conversation_id="con_1",
                parent_id=None,
                role="user",
                text=f"text {n}",
                at=now(),
                inference_id=None,
                reason=None,
            )
            turns.add(conn, turn, n, content_hash(turn.text))
            turns.add_features(conn, FEATURES, [Features(turn.id, 6, 2, False, raw)])


def assigned(store: Store, count: int) -> dict[str, int]:
    with store.read() as conn:
        model = topics.newest_model(conn, FEATURES)
        assert model is not None
        return topics.of_turns(conn, model.id, [f"t{n:05}" for n in range(count)])


def test_messages_about_one_thing_share_a_topic(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LEAST", 100)
    monkeypatch.setattr(module, "MOST_TOPICS", ABOUT)
    computer = Topics(store)
    add(store, 0, 99)
    assert computer.run_once() == 0
    add(store, 99, 61)
    assert computer.run_once() == 160
    assert computer.run_once() == 0
    found = assigned(store, 160)
    for about in range(ABOUT):
        shares = Counter(topic for turn, topic in found.items() if int(turn[1:]) % ABOUT == about)
        assert shares.most_common(1)[0][1] >= 0.9 * shares.total()
    add(store, 160, 10)
    assert computer.run_once() == 10  # by the same model
    with store.write() as conn:
        topics.forget(conn, ["t00000"])
    assert computer.run_once() == 1
    add(store, 170, 480)
    assert computer.run_once() == 650  # all of them, by a new one
    assert len(assigned(store, 650)) == 650


def test_a_model_is_the_same_each_time() -> None:
    vectors = np.random.default_rng(0).normal(size=(300, 8)).astype(np.float32)
    one, other = fit(vectors, 5), fit(vectors, 5)
    assert one.shape == (5, 8)
    np.testing.assert_array_equal(one, other)
    np.testing.assert_allclose(np.linalg.norm(one, axis=1), 1, atol=1e-5)
