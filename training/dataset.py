"""Freezes labels into an immutable, content-addressed dataset, apart from a sealed holdout.

A dataset's id is a hash of its content: the same labels give the same dataset. Knows no model and no trainer.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shoptalk.domain import Example, Label, Message
from shoptalk.errors import LeakageError, NotEnoughData, NotFound
from shoptalk.minhash import ALIKE, Signature, bands, signatures, similarity
from shoptalk.models.artifacts import Artifacts
from shoptalk.store import Store
from shoptalk.store.chat import chats
from shoptalk.store.database import exclusively
from shoptalk.store.ingest import turns
from shoptalk.store.labeling import labels
from shoptalk.store.training import datasets

PLACEHOLDER = re.compile(r"<[A-Z][A-Z_]*_\d+>")
TRAIN, HOLDOUT = "train", "holdout"
PER_GROUP = 20  # one customer (or, anonymous, one conversation) gives at most this many examples ...
GROUP_SHARE = 0.01  # ... and at most this share of a dataset


@dataclass(frozen=True, slots=True)
class FrozenDataset:
    """A dataset as read back. `id` names its content."""

    id: str
    system_prompt: str
    train: tuple[Example, ...]
    holdout: tuple[Example, ...]


class Datasets:
    """Builds and reads datasets."""

    def __init__(self, store: Store, artifacts: Artifacts, system_prompt: str, holdout_share: float) -> None:
        self._store, self._artifacts = store, artifacts
        self._prompt, self._share = system_prompt, holdout_share

    def freeze(self, round_id: str | None = None) -> datasets.Dataset:
        """Make a dataset of every usable label. Raises NotEnoughData where nothing could be learned."""
        with self._store.read() as conn:
            examples = [e for label in labels.everything(conn) if (e := self._example(conn, label))]
        train, holdout = self._split(examples)
        content = self._content(train, holdout)
        frozen = _stored(content, self._artifacts, len(train), len(holdout), round_id, self._store.now())
        with self._store.write() as conn:
            members = [(e.label_id, part, e.conversation_id) for part, es in _parts(train, holdout) for e in es]
            datasets.add(conn, frozen, members)
            return datasets.find(conn, frozen.id) or frozen

    def _split(self, examples: Sequence[Example]) -> tuple[list[Example], list[Example]]:
        """(to train on, held out), with new groups sealed as they are used; of two that freeze at once, one waits."""
        with self._store.write() as conn:
            exclusively(conn, HOLDOUT)
            split = assign({e.group for e in examples}, datasets.splits(conn), self._share)
            holdout = [e for e in examples if split[e.group] == HOLDOUT]
            train = capped(without_overlap([e for e in examples if split[e.group] == TRAIN], holdout))
            if not train or not holdout:  # nothing is sealed
                raise NotEnoughData(f"{len(train)} labels to train on and {len(holdout)} held out are not enough")
            for group, part in split.items():
                datasets.assign(conn, group, part)
        return train, holdout

    def read(self, dataset_id: str) -> FrozenDataset:
        """Read a dataset back, or its successor after an erasure.

        Raises NotFound, ArtifactMissing or ArtifactCorrupt.
        """
        with self._store.read() as conn:
            row = datasets.current(conn, dataset_id)
        if row is None:
            raise NotFound(f"there is no dataset {dataset_id[:80]}")
        return parse(row.id, self._artifacts.get(row.manifest_sha256))

    def _example(self, conn: Any, label: Label) -> Example | None:
        """A label as an example; None where there is nothing to learn or the conversation has gaps."""
        if not label.reply or label.flags:
            return None
        whole = turns.path_to(conn, label.turn_id)
        path, judged = whole[:-1], whole[-1:]
        if not path or path[-1].role != "user" or any(turn.text is None for turn in path):
            return None
        # a good reply is read anew: a value found later may have been removed from it since
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

    def _content(self, train: Sequence[Example], holdout: Sequence[Example]) -> dict[str, Any]:
        rows = [{"split": part, **_row(e)} for part, es in _parts(train, holdout) for e in es]
        return {"version": 1, "system_prompt": self._prompt, "examples": rows}


def rewritten(old: datasets.Dataset, artifacts: Artifacts, gone: set[str], at: datetime) -> datasets.Dataset:
    """The dataset without these conversations: its file is stored, its row is not."""
    content = json.loads(artifacts.get(old.manifest_sha256))
    content["examples"] = [row for row in content["examples"] if row["conversation_id"] not in gone]
    sizes = Counter(row["split"] for row in content["examples"])
    return _stored(content, artifacts, sizes[TRAIN], sizes[HOLDOUT], old.round_id, at)


def _stored(
    content: dict[str, Any], artifacts: Artifacts, train: int, holdout: int, round_id: str | None, at: datetime
) -> datasets.Dataset:
    data = json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
    id = "ds_" + hashlib.sha256(data).hexdigest()[:32]
    return datasets.Dataset(id, artifacts.put(data), train, holdout, round_id, at)


def parse(dataset_id: str, data: bytes) -> FrozenDataset:
    """Read a dataset's file."""
    content = json.loads(data)
    found: dict[str, list[Example]] = {TRAIN: [], HOLDOUT: []}
    for row in content["examples"]:
        messages = (Message("system", content["system_prompt"]), *(Message(r, t) for r, t in row["messages"]))
        found[row["split"]].append(
            Example(
                label_id=row["label_id"],
                conversation_id=row["conversation_id"],
                group=row["group"],
                messages=messages,
                reply=row["reply"],
            )
        )
    return FrozenDataset(dataset_id, content["system_prompt"], tuple(found[TRAIN]), tuple(found[HOLDOUT]))


def assign(groups: Iterable[str], sealed: dict[str, str], share: float) -> dict[str, str]:
    """Each group's split: as sealed before, else by hash order, so that `share` of all groups is held out."""
    groups = set(groups)
    split = {g: sealed[g] for g in groups if g in sealed}
    fresh = sorted(groups - split.keys(), key=lambda g: hashlib.sha256(b"split\0" + g.encode()).digest())
    wanted = max(0, round(share * len(groups)) - sum(part == HOLDOUT for part in split.values()))
    split.update({g: HOLDOUT if i < wanted else TRAIN for i, g in enumerate(fresh)})
    return split


def capped(examples: Sequence[Example]) -> list[Example]:
    """At most PER_GROUP examples, and GROUP_SHARE of all that are kept, from one group (but never less than one)."""
    sizes = Counter(e.group for e in examples).values()
    most = PER_GROUP
    while most > 1 and most > GROUP_SHARE * sum(min(n, most) for n in sizes):
        most -= 1
    seen: Counter[str] = Counter()
    kept = []
    for example in examples:
        seen[example.group] += 1
        if seen[example.group] <= most:
            kept.append(example)
    return kept


def without_overlap(train: Sequence[Example], holdout: Sequence[Example]) -> list[Example]:
    """Leave out training examples whose last message and reply both read nearly like a held-out example's."""
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
    """Refuse to train where train and holdout share a group, a conversation or a text; raises LeakageError."""
    for name in ("group", "conversation_id"):
        shared = {getattr(e, name) for e in dataset.train} & {getattr(e, name) for e in dataset.holdout}
        if shared:
            raise LeakageError(f"dataset {dataset.id}: train and holdout share {len(shared)} of {name}")
    if len(without_overlap(dataset.train, dataset.holdout)) != len(dataset.train):
        raise LeakageError(f"dataset {dataset.id}: train and holdout share texts")


def invents(said: Iterable[str], reply: str) -> bool:
    """Does the reply hold a placeholder that nothing said before holds? No model can know what it stands for."""
    known = {found for text in said for found in PLACEHOLDER.findall(text)}
    return any(found not in known for found in PLACEHOLDER.findall(reply))


def _row(example: Example) -> dict[str, Any]:
    return {
        "label_id": example.label_id,
        "conversation_id": example.conversation_id,
        "group": example.group,
        "messages": [[m.role, m.content] for m in example.messages[1:]],
        "reply": example.reply,
    }


def _parts(train: Sequence[Example], holdout: Sequence[Example]) -> list[tuple[str, Sequence[Example]]]:
    return [(TRAIN, train), (HOLDOUT, holdout)]
