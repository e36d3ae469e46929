"""Freezes labels into an immutable, content-addressed dataset, apart from a holdout that is fixed for good.

A dataset's id is a hash of its content: the same labels give the same dataset. `training.examples` knows how examples
stand in its file. Knows no model and no trainer.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shoptalk import placeholders
from shoptalk.domain import Example, Label, Message
from shoptalk.errors import LeakageError, NotEnoughData, NotFound
from shoptalk.minhash import ALIKE, Signature, bands, signatures, similarity
from shoptalk.models.artifacts import Artifacts
from shoptalk.rounds.requests import FROZEN
from shoptalk.store import Store, cursors, erasures
from shoptalk.store.chat import chats
from shoptalk.store.database import exclusively
from shoptalk.store.ingest import turns
from shoptalk.store.labeling import labels
from shoptalk.store.training import datasets
from training.examples import HOLDOUT, TRAIN, content_of, example_of

PER_GROUP = 20  # one customer (or, anonymous, one conversation) gives at most this many examples ...
GROUP_SHARE = 0.01  # ... and at most this share of a dataset


@dataclass(frozen=True, slots=True)
class FrozenDataset:
    """A dataset as read back. `id` is derived from its content."""

    id: str
    system_prompt: str
    train: tuple[Example, ...]
    holdout: tuple[Example, ...]


class Datasets:
    """Builds datasets of labels, and reads them back."""

    def __init__(self, store: Store, artifacts: Artifacts, system_prompt: str, holdout_share: float) -> None:
        self._store, self._artifacts = store, artifacts
        self._prompt, self._share = system_prompt, holdout_share

    def freeze(self, round_id: str | None = None) -> datasets.Dataset:
        """Make a dataset of every usable label, and return it. Raises NotEnoughData for too few labels.

        Everything is computed before the transaction. Where a label was erased meanwhile, or another process fixed the
        split of one of these customers, it is computed again. (An erasure that goes on after that finds the dataset.)
        """
        while True:
            with self._store.read() as conn:
                erased, fixed = erasures.last_change(conn), datasets.splits(conn)
                found = labels.everything(conn)
                examples = [e for label in found if (e := self._example(conn, label))]
            split = assign({e.group for e in examples}, fixed, self._share)
            train, holdout = _divided(examples, split)
            content = content_of(self._prompt, train, holdout)
            frozen = _store(content, self._artifacts, len(train), len(holdout), round_id, self._store.now())
            members = [(row["label_id"], row["split"], row["conversation_id"]) for row in content["examples"]]
            fresh = {group: part for group, part in split.items() if group not in fixed}
            with self._store.write() as conn:
                exclusively(conn, HOLDOUT)
                erased_since = erasures.last_change(conn) != erased and not labels.there(conn, [m[0] for m in members])
                if not erased_since and not datasets.fixed_otherwise(conn, fresh):
                    datasets.assign(conn, fresh)
                    datasets.add(conn, frozen, members)
                    cursors.put(conn, FROZEN, labels.count(conn))
                    return datasets.find(conn, frozen.id) or frozen
                unknown = datasets.find(conn, frozen.id) is None
            if unknown:  # its file may hold what was erased
                self._artifacts.delete(frozen.manifest_sha256)

    def read(self, dataset_id: str) -> FrozenDataset:
        """Return a dataset, or the one that replaced it after an erasure.

        Raises NotFound, ArtifactMissing or ArtifactCorrupt.
        """
        with self._store.read() as conn:
            row = datasets.current(conn, dataset_id)
        if row is None:
            raise NotFound(f"there is no dataset {dataset_id[:80]}")
        return parse(row.id, self._artifacts.get(row.manifest_sha256))

    def _example(self, conn: Any, label: Label) -> Example | None:
        """Return a label as an example; None where there is nothing to learn or the conversation has gaps."""
        if not label.reply or label.flags:
            return None
        whole = turns.path_to(conn, label.turn_id)
        path, judged = whole[:-1], whole[-1:]
        if not path or path[-1].role != "user" or any(turn.text is None for turn in path):
            return None
        # a good reply is read again: a value found later may have been removed from it since
        reply = judged[0].text if label.verdict == "good" else label.reply
        if not reply or invents([turn.text or "" for turn in path], reply):
            return None
        customer = chats.customers(conn, [label.conversation_id]).get(label.conversation_id)
        messages = [Message("system", self._prompt)]
        messages += [Message(turn.role, turn.text or "") for turn in path]
        group = judged[0].customer or customer or label.conversation_id
        return Example(
            label_id=label.id, conversation_id=label.conversation_id, group=group, messages=tuple(messages), reply=reply
        )


def _divided(examples: Sequence[Example], split: Mapping[str, str]) -> tuple[list[Example], list[Example]]:
    """Return (training examples, held-out examples). Raises NotEnoughData where either is empty."""
    holdout = [e for e in examples if split[e.group] == HOLDOUT]
    train = capped(without_overlap([e for e in examples if split[e.group] == TRAIN], holdout))
    if not train or not holdout:
        raise NotEnoughData(f"{len(train)} labels to train on and {len(holdout)} held out are not enough")
    return train, holdout


def rewrite_without(old: datasets.Dataset, artifacts: Artifacts, gone: set[str], at: datetime) -> datasets.Dataset:
    """Store a dataset's file without these conversations, and return the new dataset, which is not recorded yet."""
    content = json.loads(artifacts.get(old.manifest_sha256))
    content["examples"] = [row for row in content["examples"] if row["conversation_id"] not in gone]
    sizes = Counter(row["split"] for row in content["examples"])
    return _store(content, artifacts, sizes[TRAIN], sizes[HOLDOUT], old.round_id, at)


def _store(
    content: dict[str, Any], artifacts: Artifacts, train: int, holdout: int, round_id: str | None, at: datetime
) -> datasets.Dataset:
    data = json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
    id = "ds_" + hashlib.sha256(data).hexdigest()[:32]
    return datasets.Dataset(id, artifacts.put(data), train, holdout, round_id, at)


def parse(dataset_id: str, data: bytes) -> FrozenDataset:
    """Parse a dataset's file."""
    content = json.loads(data)
    found: dict[str, list[Example]] = {TRAIN: [], HOLDOUT: []}
    for row in content["examples"]:
        found[row["split"]].append(example_of(row, content["system_prompt"]))
    return FrozenDataset(dataset_id, content["system_prompt"], tuple(found[TRAIN]), tuple(found[HOLDOUT]))


def assign(groups: Iterable[str], fixed: dict[str, str], share: float) -> dict[str, str]:
    """Return each group's split: as it was fixed before, else by hash order, so that `share` of all is held out."""
    groups = set(groups)
    split = {g: fixed[g] for g in groups if g in fixed}
    fresh = sorted(groups - split.keys(), key=lambda g: hashlib.sha256(b"split\0" + g.encode()).digest())
    wanted = max(0, round(share * len(groups)) - sum(part == HOLDOUT for part in split.values()))
    split.update({g: HOLDOUT if i < wanted else TRAIN for i, g in enumerate(fresh)})
    return split


def capped(examples: Sequence[Example]) -> list[Example]:
    """Keep at most PER_GROUP examples of one group, and at most GROUP_SHARE of all that are kept, but at least one.

    A group's last ones are kept: the newest labels.
    """
    sizes = Counter(e.group for e in examples).values()
    most = PER_GROUP
    while most > 1 and most > GROUP_SHARE * sum(min(n, most) for n in sizes):
        most -= 1
    seen: Counter[str] = Counter()
    kept = []
    for example in reversed(examples):
        seen[example.group] += 1
        if seen[example.group] <= most:
            kept.append(example)
    return kept[::-1]


def without_overlap(train: Sequence[Example], holdout: Sequence[Example]) -> list[Example]:
    """Leave out training examples whose last message and reply are both near-duplicates of a held-out example's."""
    held: dict[str, list[tuple[Signature, Signature]]] = {}
    for pair in _signed(holdout):
        for band in bands(pair[0]):
            held.setdefault(band, []).append(pair)
    return [example for example, pair in zip(train, _signed(train), strict=True) if not _among(held, pair)]


def _signed(examples: Sequence[Example]) -> list[tuple[Signature, Signature]]:
    asked = signatures([e.messages[-1].content for e in examples])
    return list(zip(asked, signatures([e.reply for e in examples]), strict=True))


def _among(held: Mapping[str, Sequence[tuple[Signature, Signature]]], own: tuple[Signature, Signature]) -> bool:
    near = (pair for band in bands(own[0]) for pair in held.get(band, ()))
    return any(all(similarity(a, b) >= ALIKE for a, b in zip(own, pair, strict=True)) for pair in near)


def check_disjoint(dataset: FrozenDataset) -> None:
    """Raise LeakageError where train and holdout share a group, a conversation or a text (near-duplicates too)."""
    for name in ("group", "conversation_id"):
        shared = {getattr(e, name) for e in dataset.train} & {getattr(e, name) for e in dataset.holdout}
        if shared:
            raise LeakageError(f"dataset {dataset.id}: train and holdout share {len(shared)} of {name}")
    if len(without_overlap(dataset.train, dataset.holdout)) != len(dataset.train):
        raise LeakageError(f"dataset {dataset.id}: train and holdout share texts")


def invents(said: Iterable[str], reply: str) -> bool:
    """Return whether the reply holds a placeholder that nothing said before holds.

    No model can know what such a placeholder stands for.
    """
    known = {found for text in said for found in placeholders.found_in(text)}
    return any(found not in known for found in placeholders.found_in(reply))
