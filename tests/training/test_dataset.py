"""Datasets: content-addressed, capped, and apart from a fixed holdout."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType

import pytest
import sqlalchemy as sa
from hypothesis import example as tried
from hypothesis import given
from hypothesis import strategies as st

from shoptalk.domain import Erasure
from shoptalk.errors import ArtifactCorrupt, LeakageError, NotEnoughData, NotFound
from shoptalk.models.artifacts import Artifacts
from shoptalk.store import Store, erasures
from shoptalk.store.ingest import turns
from shoptalk.store.labeling import labels
from shoptalk.store.training import datasets
from tests.clocks import now
from tests.training.world import PROMPT, add_label, example
from training.dataset import (
    GROUP_SHARE,
    PER_GROUP,
    Datasets,
    FrozenDataset,
    assign,
    capped,
    check_disjoint,
)
from training.examples import HOLDOUT, TRAIN


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    return Artifacts(str(tmp_path / "artifacts"))


@pytest.fixture
def frozen(sqlite_store: Store, artifacts: Artifacts) -> Datasets:
    return Datasets(sqlite_store, artifacts, PROMPT, 0.25)


def fill(store: Store, count: int, start: int = 0) -> None:
    for n in range(start, start + count):
        add_label(store, str(n))


def test_a_dataset_is_read_back_as_it_was_made(sqlite_store: Store, frozen: Datasets) -> None:
    fill(sqlite_store, 12)
    made = frozen.freeze("rnd_1")
    assert (made.train, made.holdout, made.round_id) == (9, 3, "rnd_1")
    dataset = frozen.read(made.id)
    check_disjoint(dataset)
    one = dataset.train[0]
    name = one.label_id.removeprefix("lbl_")
    assert [(m.role, m.content) for m in one.messages] == [
        ("system", PROMPT), ("user", f"Where is my order number {name}?")
    ]  # fmt: skip
    assert one.reply == f"Order {name} is on its way."


def test_the_same_labels_give_the_same_dataset(sqlite_store: Store, frozen: Datasets) -> None:
    fill(sqlite_store, 12)
    first = frozen.freeze("rnd_1")
    assert frozen.freeze("rnd_2") == first
    add_label(sqlite_store, "more")
    assert frozen.freeze("rnd_3").id != first.id


def test_a_split_once_made_stays(sqlite_store: Store, frozen: Datasets) -> None:
    fill(sqlite_store, 8)
    dataset = frozen.read(frozen.freeze().id)
    before = {e.group: part for part, es in ((TRAIN, dataset.train), (HOLDOUT, dataset.holdout)) for e in es}
    for start in (8, 24):
        fill(sqlite_store, 16, start)
        grown = frozen.read(frozen.freeze().id)
        check_disjoint(grown)
        now = {e.group: part for part, es in ((TRAIN, grown.train), (HOLDOUT, grown.holdout)) for e in es}
        assert {group: now[group] for group in before} == before
        assert sum(part == HOLDOUT for part in now.values()) == round(0.25 * len(now))


def test_a_customer_is_on_one_side(sqlite_store: Store, frozen: Datasets) -> None:
    for n in range(24):
        add_label(sqlite_store, str(n), customer=f"cus_{n % 6}")
    dataset = frozen.read(frozen.freeze().id)
    assert not {e.group for e in dataset.train} & {e.group for e in dataset.holdout}
    assert {e.group for e in (*dataset.train, *dataset.holdout)} <= {f"cus_{n}" for n in range(6)}


def test_what_reads_like_a_held_out_example_is_not_trained_on(sqlite_store: Store, frozen: Datasets) -> None:
    for n in range(12):
        add_label(sqlite_store, str(n), question="Where is it?" if n % 2 else f"No {n}?", reply="It is COMING!")
    dataset = frozen.read(frozen.freeze().id)
    held = {e.messages[-1].content for e in dataset.holdout}
    if "Where is it?" in held:
        assert "Where is it?" not in {e.messages[-1].content for e in dataset.train}
    check_disjoint(dataset)


def test_only_replies_people_approved_are_learned(sqlite_store: Store, frozen: Datasets) -> None:
    fill(sqlite_store, 8)
    add_label(sqlite_store, "none", reply=None)
    add_label(sqlite_store, "empty", reply="")
    add_label(sqlite_store, "flagged", flags=("unsafe",))
    add_label(sqlite_store, "gap", question="")
    dataset = frozen.read(frozen.freeze().id)
    everything = (*dataset.train, *dataset.holdout)
    names = {e.label_id for e in everything}
    assert not names & {"lbl_none", "lbl_empty", "lbl_flagged"}
    assert "Shown by the bot." not in {e.reply for e in everything}


def test_a_placeholder_that_nobody_said_is_not_learned(sqlite_store: Store, frozen: Datasets) -> None:
    """An annotator's "call 0800 1234567" is a placeholder by now; a model would learn to invent one."""
    fill(sqlite_store, 8)
    add_label(sqlite_store, "made_up", question="Where is <ORDER_ID_1>?", reply="Call <PHONE_NUMBER_1>.")
    add_label(sqlite_store, "known", question="Where is <ORDER_ID_1>?", reply="<ORDER_ID_1> is on its way.")
    dataset = frozen.read(frozen.freeze().id)
    names = {e.label_id for e in (*dataset.train, *dataset.holdout)}
    assert "lbl_known" in names
    assert "lbl_made_up" not in names


def test_a_good_reply_is_learned_as_it_reads_now(sqlite_store: Store, frozen: Datasets) -> None:
    """A name found in it after it was labelled is gone from the turn; the label still has it."""
    fill(sqlite_store, 8)
    add_label(sqlite_store, "late", reply="Hello priya", shown="Hello priya")
    with sqlite_store.write() as conn:
        label = next(label for label in labels.everything(conn) if label.id == "lbl_late")
        turns.rewrite(conn, label.turn_id, "Hello there", "0" * 64)
    dataset = frozen.read(frozen.freeze().id)
    everything = {e.label_id: e.reply for e in (*dataset.train, *dataset.holdout)}
    assert everything["lbl_late"] == "Hello there"


def test_too_few_labels_are_not_enough(sqlite_store: Store, frozen: Datasets) -> None:
    with pytest.raises(NotEnoughData):
        frozen.freeze()
    add_label(sqlite_store, "only")
    with pytest.raises(NotEnoughData):
        frozen.freeze()
    with sqlite_store.read() as conn:
        assert datasets.splits(conn) == {}


def test_an_altered_dataset_is_not_read(sqlite_store: Store, frozen: Datasets, artifacts: Artifacts) -> None:
    fill(sqlite_store, 12)
    made = frozen.freeze()
    path = Path(artifacts.path_of(made.manifest_sha256))
    path.write_bytes(path.read_bytes().replace(b"way", b"wax", 1))
    with pytest.raises(ArtifactCorrupt):
        frozen.read(made.id)
    with pytest.raises(NotFound):
        frozen.read("ds_0")


class Meanwhile(Artifacts):
    """Artifacts that do something when the first one is stored: between a freeze's reading and its transaction."""

    def __init__(self, folder: Path, then: Callable[[], None]) -> None:
        super().__init__(str(folder))
        self._then: Callable[[], None] | None = then

    def put(self, data: bytes) -> str:
        if self._then is not None:
            then, self._then = self._then, None
            then()
        return super().put(data)


@pytest.mark.parametrize("other", [TRAIN, HOLDOUT])
def test_a_split_fixed_meanwhile_is_used(sqlite_store: Store, tmp_path: Path, other: str) -> None:
    """Another process fixes the split of a group after this one read its labels."""
    fill(sqlite_store, 12)

    def fix() -> None:
        with sqlite_store.write() as conn:
            datasets.assign(conn, {f"con_{n}": other for n in range(6)})

    frozen = Datasets(sqlite_store, Meanwhile(tmp_path, fix), PROMPT, 0.25)
    dataset = frozen.read(frozen.freeze().id)
    used = {e.group: part for part, es in ((TRAIN, dataset.train), (HOLDOUT, dataset.holdout)) for e in es}
    assert {used[f"con_{n}"] for n in range(6)} == {other}
    with sqlite_store.read() as conn:
        assert datasets.splits(conn) == used


def test_what_is_erased_during_a_freeze_is_not_in_the_dataset(sqlite_store: Store, tmp_path: Path) -> None:
    fill(sqlite_store, 12)

    def erase() -> None:
        erased = Erasure(
            id="era_1", state="running", policy="now", customer=None, conversations=["con_3"], inferences=[],
            since=None, problem=None, receipt=None, created_at=now(), updated_at=now(),
        )  # fmt: skip
        with sqlite_store.write() as conn:
            erasures.add(conn, erased)
            labels.erase(conn, ["con_3"])

    folder = tmp_path / "files"
    artifacts = Meanwhile(folder, erase)
    frozen = Datasets(sqlite_store, artifacts, PROMPT, 0.25)
    made = frozen.freeze()
    dataset = frozen.read(made.id)
    assert "con_3" not in {e.conversation_id for e in (*dataset.train, *dataset.holdout)}
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert [path.name for path in files] == [Path(artifacts.path_of(made.manifest_sha256)).name]  # no other is left


class Watched(Store):
    """A store that knows whether a transaction that writes is open."""

    locked = False

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        with super().write() as conn:
            self.locked = True
            try:
                yield conn
            finally:
                self.locked = False


def test_nothing_is_computed_while_the_database_is_locked(sqlite_store: Store, artifacts: Artifacts) -> None:
    """Customers' commits would wait for it, from some ten thousand labels on for longer than they may."""
    fill(sqlite_store, 12)
    store = Watched(str(sqlite_store.url))
    called: list[tuple[str, bool]] = []

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_globals.get("__name__") == "shoptalk.minhash":
            called.append((frame.f_code.co_name, store.locked))

    sys.setprofile(note)
    try:
        Datasets(store, artifacts, PROMPT, 0.25).freeze()
    finally:
        sys.setprofile(None)
        store.close()
    assert "signatures" in {name for name, _ in called}
    assert [name for name, locked in called if locked] == []


@given(st.lists(st.integers(1, 60), min_size=1, max_size=40))
@tried([60])
@tried([1000, *[1] * 100])
@tried([300] * 100)
def test_no_customer_weighs_too_much(sizes: list[int]) -> None:
    examples = [example(n, f"cus_{g}") for g, size in enumerate(sizes) for n in range(size)]
    counts = Counter(e.group for e in capped(examples))
    assert set(counts) == {f"cus_{g}" for g in range(len(sizes))}
    most = max(counts.values())
    assert most <= PER_GROUP
    assert most == 1 or most <= GROUP_SHARE * sum(counts.values())


def test_of_a_customer_with_many_labels_the_newest_are_kept() -> None:
    examples = [example(n, f"cus_{0 if n < 50 else n}") for n in range(3000)]
    kept = [n for n, e in enumerate(examples) if e in capped(examples) and e.group == "cus_0"]
    assert kept == list(range(50 - PER_GROUP, 50))


@given(
    st.sets(st.text("abc", min_size=1, max_size=3), max_size=20),
    st.dictionaries(st.text("abc", min_size=1, max_size=3), st.sampled_from([TRAIN, HOLDOUT])),
    st.floats(0.05, 0.5),
)
def test_assignments_respect_what_is_fixed(groups: set[str], fixed: dict[str, str], share: float) -> None:
    split = assign(groups, fixed, share)
    assert set(split) == groups
    assert all(split[g] == fixed[g] for g in groups & set(fixed))
    assert split == assign(sorted(groups), fixed, share)


LONG = "I bought a kettle from you a week ago; it leaks at the bottom. Could you send me another, and a label?"
NEARLY = replace(example(4, text=LONG + "?"), reply="Of course, another kettle is on its way to you.")
TRAINED = replace(NEARLY, messages=example(4, text=f"hi {LONG}").messages)
OURS = FrozenDataset("ds_1", PROMPT, (example(1), example(2), TRAINED), (example(3),))


@pytest.mark.parametrize(
    ("leak", "said"),
    [
        (replace(example(9), group="cus_1"), "group"),
        (replace(example(9), conversation_id="con_2"), "conversation_id"),
        (replace(example(1), group="cus_9", conversation_id="con_9"), "texts"),
        (replace(example(9, text="where is ORDER 1"), reply="order 1 is on its way"), "texts"),
        (replace(NEARLY, label_id="lab_9", group="cus_9", conversation_id="con_9"), "texts"),
    ],
)
def test_a_leak_refuses_to_train(leak: object, said: str) -> None:
    check_disjoint(OURS)
    with pytest.raises(LeakageError, match=said):
        check_disjoint(replace(OURS, holdout=(example(3), leak)))  # type: ignore[arg-type]
