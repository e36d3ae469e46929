"""Topics divide messages by what they are about, and a model stays until messages are many more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta

import numpy as np
import numpy.typing as npt
import pytest
import sqlalchemy as sa

from ingest.features import topics as module
from ingest.features.computer import FeatureComputer
from ingest.features.topics import Topics, fit, named
from ingest.inbox.drain import content_hash
from shoptalk.domain import Turn
from shoptalk.store import Store, schema
from shoptalk.store.ingest import topics, turns
from shoptalk.store.ingest.topics import TopicModel
from shoptalk.store.ingest.turns import FEATURES
from tests.clocks import now

ABOUT = 4


class Planes:
    """An embedder of texts such as `2 7`: about the third of ABOUT things."""

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        noise = np.random.default_rng(int(texts[0].split()[1]))
        rows = np.zeros((len(texts), 16), np.float32)
        for row, text in zip(rows, texts, strict=True):
            row[:] = 0.1 * noise.normal(size=16)
            row[int(text.split()[0])] += 1
        unit: npt.NDArray[np.float32] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return unit


class Shop:
    """Admits messages, computes their features, and makes topic models."""

    def __init__(self, store: Store) -> None:
        self.store, self.topics, self._features = store, Topics(store), FeatureComputer(store, Planes())

    def admit(self, first: int, count: int, about: int = ABOUT) -> None:
        """Messages about `about` things in turn."""
        with self.store.write() as conn:
            for n in range(first, first + count):
                turn = Turn(
                    id=f"t{n:05}",
                    conversation_id="con_1",
                    parent_id=None,
                    role="user",
                    text=f"{n % about} {n}",
                    at=now(),
                )
                turns.add(conn, turn, n, content_hash(turn.text))
        while self._features.run_once():
            pass

    def assigned(self, first: int, count: int) -> dict[str, int]:
        with self.store.read() as conn:
            return topics.of_turns(conn, [f"t{n:05}" for n in range(first, first + count)])

    def later(self, age: timedelta) -> None:
        """Let the newest model be this old."""
        with self.store.write() as conn:
            model = topics.newest_model(conn, FEATURES)
            assert model is not None
            mine = sa.update(schema.topic_models).where(schema.topic_models.c.id == model.id)
            conn.execute(mine.values(created_at=model.created_at - age))


@pytest.fixture
def shop(store: Store, monkeypatch: pytest.MonkeyPatch) -> Shop:
    monkeypatch.setattr(module, "LEAST", 100)
    monkeypatch.setattr(module, "MOST_TOPICS", ABOUT)
    return Shop(store)


def names(found: Mapping[str, int], about: int = ABOUT) -> list[int]:
    """The topic that nearly all messages about each thing have."""
    result = []
    for thing in range(about):
        shares = Counter(topic for turn, topic in found.items() if int(turn[1:]) % about == thing)
        [(name, count)] = shares.most_common(1)
        assert count >= 0.9 * shares.total()
        result.append(name)
    return result


def test_messages_about_one_thing_share_a_topic(shop: Shop) -> None:
    shop.admit(0, 99)
    assert shop.topics.run_once() == 0
    assert shop.assigned(0, 99) == {}
    shop.admit(99, 61)
    assert shop.topics.run_once() == 160
    assert shop.topics.run_once() == 0
    first = names(shop.assigned(0, 160))
    assert len(set(first)) == ABOUT
    shop.admit(160, 40)  # at once, by the same model
    assert names(shop.assigned(160, 40)) == first


def test_a_model_is_made_at_most_once_a_day_and_keeps_the_names(shop: Shop) -> None:
    shop.admit(0, 160)
    shop.topics.run_once()
    first = names(shop.assigned(0, 160))
    shop.admit(160, 500)
    assert shop.topics.run_once() == 0  # it has grown fourfold, but not a day has passed
    with shop.store.read() as conn:
        before = topics.newest_id(conn, FEATURES)
    shop.later(timedelta(days=1))
    assert shop.topics.run_once() == 0  # every message has a topic already
    with shop.store.read() as conn:
        model = topics.newest_model(conn, FEATURES)
    assert model is not None
    assert model.id != before
    assert sorted(model.names) == sorted(first)
    shop.admit(660, 40)
    assert names(shop.assigned(660, 40)) == first  # followed across models


def test_a_topic_that_is_new_gets_a_name_that_none_had() -> None:
    planes = np.eye(4, dtype=np.float32)
    former = TopicModel("top_1", FEATURES, 2, 9, planes[:2].tobytes(), [7, 3], now())
    assert named(planes[[1, 2, 0]], former, given=8) == [3, 8, 7]
    assert named(planes[:2], None, given=0) == [0, 1]


def test_a_model_is_the_same_each_time() -> None:
    vectors = np.random.default_rng(0).normal(size=(300, 8)).astype(np.float32)
    one, other = fit(vectors, 5), fit(vectors, 5)
    assert one.shape == (5, 8)
    np.testing.assert_array_equal(one, other)
    np.testing.assert_allclose(np.linalg.norm(one, axis=1), 1, atol=1e-5)
