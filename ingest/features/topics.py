"""Divides customers' messages into topics: k-means over their embeddings, fitted again as messages grow in number.

A message gets its topic when its features are computed, from the newest model, and keeps it. A new model names each of
its topics as the former one named the nearest, if that is near enough, so that a topic can be followed over the years.
Knows no words: a topic's name is a number.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final

import numpy as np
import numpy.typing as npt

from shoptalk.domain import new_id
from shoptalk.store import Store, cursors
from shoptalk.store.ingest import topics, turns
from shoptalk.store.ingest.topics import TopicModel
from shoptalk.store.ingest.turns import FEATURES

LEAST: Final = 200  # messages for a first model
GROWTH: Final = 4  # factor of growth at which a new model is made ...
PAUSE: Final = timedelta(days=1)  # ... at most this often
MOST_TOPICS: Final = 40
MOST_USED: Final = 20_000  # the newest turns, of which about half are customers'
SAME: Final = 0.8  # cosine of two centroids of one topic
WRITTEN: Final = 50  # topics in one transaction
NAMES: Final = "topic names"  # the cursor of names that were given

Vectors = npt.NDArray[np.float32]


class Topics:
    """Makes topic models when they are due. One worker at a time does it."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def run_once(self) -> int:
        """Make a model if one is due; return how many messages got a topic that had none."""
        with self._store.read() as conn:
            model, there = topics.newest_model(conn, FEATURES), topics.count_embedded(conn)
        if model is None:
            return self._make(None, there) if there >= LEAST else 0
        due = there >= GROWTH * model.turns and self._store.now() >= model.created_at + PAUSE
        return self._make(model, there) if due else 0

    def _make(self, former: TopicModel | None, there: int) -> int:
        with self._store.read() as conn:
            rows = topics.newest_embeddings(conn, FEATURES, MOST_USED)
            given = cursors.get(conn, NAMES)
        if len(rows) < LEAST / 2:
            return 0
        vectors = matrix([raw for _, raw in rows])
        centroids = fit(vectors, min(MOST_TOPICS, round(math.sqrt(len(vectors) / 2))))
        names = named(centroids, former, given)
        raw = centroids.astype("<f4").tobytes()
        model = TopicModel(new_id("top"), FEATURES, len(names), there, raw, names, self._store.now())
        with self._store.write() as conn:
            topics.add_model(conn, model)
            cursors.put(conn, NAMES, max(given, *(name + 1 for name in names)))
        return self._assign({turn: names[i] for (turn, _), i in zip(rows, nearest(vectors, centroids), strict=True)})

    def _assign(self, wanted: Mapping[str, int]) -> int:
        """Give those of the messages a topic that have none, in short transactions."""
        ids, count = list(wanted), 0
        for start in range(0, len(ids), WRITTEN):
            part = ids[start : start + WRITTEN]
            with self._store.write() as conn:
                bare = set(turns.many(conn, part)) - set(topics.of_turns(conn, part))
                topics.assign(conn, {turn: wanted[turn] for turn in part if turn in bare})
            count += len(bare)
        return count


class TopicAssigner:
    """Gives messages the topic of the newest model. Reads the model again only when there is a newer one."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._model: TopicModel | None = None

    def topics(self, embeddings: Sequence[bytes]) -> list[int | None]:
        """Return the topic of each message; None while there is no model."""
        with self._store.read() as conn:
            if self._model is None or topics.newest_id(conn, FEATURES) != self._model.id:
                self._model = topics.newest_model(conn, FEATURES)
        if self._model is None or not embeddings:
            return [None] * len(embeddings)
        centroids = np.frombuffer(self._model.centroids, dtype="<f4").reshape(self._model.topics, -1)
        return [self._model.names[i] for i in nearest(matrix(embeddings), centroids)]


def named(centroids: Vectors, former: TopicModel | None, given: int) -> list[int]:
    """Return the name of each centroid's topic: the former's where it is the same, else one that was never `given`."""
    names: dict[int, int] = {}
    if former is not None:
        old = np.frombuffer(former.centroids, dtype="<f4").reshape(former.topics, -1)
        alike = centroids @ old.T
        taken: set[int] = set()
        for pair in np.argsort(-alike, axis=None):  # the most alike first
            new, before = (int(i) for i in np.unravel_index(pair, alike.shape))
            if alike[new, before] < SAME:
                break
            if new not in names and before not in taken:
                names[new] = former.names[before]
                taken.add(before)
    fresh = iter(range(given, given + len(centroids)))
    return [names[i] if i in names else next(fresh) for i in range(len(centroids))]


def nearest(vectors: Vectors, centroids: Vectors) -> list[int]:
    """Return the index of each vector's nearest centroid."""
    return [int(i) for i in (vectors @ centroids.T).argmax(axis=1)]


def fit(vectors: Vectors, count: int) -> Vectors:
    """Return [count, dimensions] centroids of length one, the same each time: mini-batch k-means (D. Sculley, 2010)."""
    from sklearn.cluster import MiniBatchKMeans

    centroids = MiniBatchKMeans(count, n_init=3, random_state=0).fit(vectors).cluster_centers_
    lengths = np.linalg.norm(centroids, axis=1, keepdims=True)
    unit: Vectors = (centroids / np.maximum(lengths, 1e-9)).astype(np.float32)
    return unit


def matrix(rows: Sequence[bytes]) -> Vectors:
    """Return stored embeddings as an array of shape [rows, dimensions]."""
    return np.stack([np.frombuffer(row, dtype="<f4") for row in rows])
