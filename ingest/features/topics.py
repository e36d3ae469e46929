"""Divides customers' messages into topics: k-means over their embeddings, fitted again as messages grow in number.

A model, once made, is kept and gives each message one topic; a newer model has topics of its own. Knows no words, so
topics have no names.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from shoptalk.domain import new_id
from shoptalk.store import Store
from shoptalk.store.ingest import topics
from shoptalk.store.ingest.topics import TopicModel
from shoptalk.store.ingest.turns import FEATURES

LEAST: Final = 200  # messages for a first model
GROWTH: Final = 4  # factor of growth at which a new model is made
MOST_TOPICS: Final = 40
MOST_USED: Final = 20_000
BATCH: Final = 500


class Topics:
    """Makes models and assigns topics. Several may run at once: the newest model counts."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def run_once(self) -> int:
        """Give messages their topic; return how many."""
        with self._store.read() as conn:
            model, there = topics.newest_model(conn, FEATURES), topics.count_embedded(conn, FEATURES)
        if there >= (LEAST if model is None else GROWTH * model.turns):
            model = self._make()
        return self._assign(model) if model else 0

    def _make(self) -> TopicModel:
        with self._store.read() as conn:
            rows = topics.newest_embeddings(conn, FEATURES, MOST_USED)
        vectors = _matrix(rows)
        centroids = fit(vectors, min(MOST_TOPICS, round(math.sqrt(len(vectors) / 2))))
        raw = centroids.astype("<f4").tobytes()
        model = TopicModel(new_id("top"), FEATURES, len(centroids), len(vectors), raw, self._store.now())
        with self._store.write() as conn:
            topics.add_model(conn, model)
        return model

    def _assign(self, model: TopicModel) -> int:
        centroids = np.frombuffer(model.centroids, dtype="<f4").reshape(model.topics, -1)
        total = 0
        while True:
            with self._store.read() as conn:
                waiting = topics.without_topic(conn, FEATURES, model.id, BATCH)
            if not waiting:
                return total
            nearest = (_matrix([raw for _, raw in waiting]) @ centroids.T).argmax(axis=1)
            for start in range(0, len(waiting), 50):  # short transactions
                part = {turn: int(nearest[i]) for i, (turn, _) in enumerate(waiting[start : start + 50], start)}
                with self._store.write() as conn:
                    topics.assign(conn, model.id, part)
            total += len(waiting)


def fit(vectors: npt.NDArray[np.float32], count: int) -> npt.NDArray[np.float32]:
    """Return [count, dimensions] centroids of length one, the same each time: mini-batch k-means (D. Sculley, 2010)."""
    from sklearn.cluster import MiniBatchKMeans

    centroids = MiniBatchKMeans(count, n_init=3, random_state=0).fit(vectors).cluster_centers_
    lengths = np.linalg.norm(centroids, axis=1, keepdims=True)
    unit: npt.NDArray[np.float32] = (centroids / np.maximum(lengths, 1e-9)).astype(np.float32)
    return unit


def _matrix(rows: list[bytes]) -> npt.NDArray[np.float32]:
    return np.stack([np.frombuffer(row, dtype="<f4") for row in rows])
