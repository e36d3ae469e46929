"""Fine-tuning for real, on a tiny random model: a child process makes an adapter that is published and served."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch

from chatbot.engine.embedded import EmbeddedEngine
from chatbot.engine.limits import EngineLimits
from shoptalk.domain import Adapter, AdapterRef, Message
from shoptalk.errors import NotFound, RoundCancelled, TrainingFailed
from shoptalk.models.artifacts import Artifacts
from shoptalk.models.basemodel import BaseModel, ChatTokenizer, load_tokenizer
from shoptalk.models.registry import Registry
from shoptalk.store import Store, adapters
from shoptalk.store.training import runs
from tests.conftest import KERNELS, ROOT
from tests.training.world import PROMPT, add_label, example
from training.dataset import Datasets
from training.finetune import tokens
from training.lora.packed import IGNORED
from training.recipe import Recipe
from training.trainer import Trainer

RECIPE = Recipe(steps=3, batch=2, rank=4, alpha=8, learning_rate=2e-3, warmup_steps=1, max_tokens=96, threads=1)


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    return Artifacts(str(tmp_path / "artifacts"))


@pytest.fixture
def dataset_id(sqlite_store: Store, artifacts: Artifacts) -> str:
    for n in range(12):
        add_label(sqlite_store, str(n))
    return Datasets(sqlite_store, artifacts, PROMPT, 0.25).freeze().id


def trainer(store: Store, artifacts: Artifacts, base: BaseModel, work: Path) -> Trainer:
    return Trainer(store, artifacts, Registry(store, artifacts), base, "float32", work, "shop")


@pytest.mark.slow
def test_a_run_publishes_an_adapter_that_can_be_served(
    sqlite_store: Store, artifacts: Artifacts, tiny_base: BaseModel, dataset_id: str, tmp_path: Path
) -> None:
    made = trainer(sqlite_store, artifacts, tiny_base, tmp_path / "work")
    reported: list[tuple[int, int, float]] = []
    adapter = made.train("run_1", dataset_id, RECIPE, lambda *step: reported.append(step))
    assert (adapter.ref, adapter.rank, adapter.dataset_id) == (AdapterRef("shop", 1), 4, dataset_id)
    assert [(step, steps) for step, steps, _ in reported] == [(1, 3), (2, 3), (3, 3)]
    with sqlite_store.read() as conn:
        run = runs.find(conn, "run_1")
    assert run is not None
    assert (run.state, run.step, run.adapter, run.problem) == ("done", 3, "shop@v1", None)
    assert list((tmp_path / "work").iterdir()) == []
    assert made.train("run_1", dataset_id, RECIPE) == adapter  # done before: nothing runs again

    engine = EmbeddedEngine(tiny_base, torch.float32, EngineLimits(2, 128, 4, 2, 8, 1, kernels=KERNELS))
    engine.start()
    try:
        files = Registry(sqlite_store, artifacts).resolve(adapter.ref, base_sha256=tiny_base.sha256)
        engine.load(adapter.ref, files)
        learned = Datasets(sqlite_store, artifacts, PROMPT, 0.25).read(dataset_id).train[0]
        losses = [
            engine.score(ref, learned.messages, [learned.reply])[0] for ref in (AdapterRef("shop", 0), adapter.ref)
        ]
        assert losses[1] < losses[0]
    finally:
        engine.stop()


@pytest.mark.slow
def test_of_a_cancelled_round_nothing_is_left_running(
    sqlite_store: Store, artifacts: Artifacts, tiny_base: BaseModel, dataset_id: str, tmp_path: Path
) -> None:
    def cancelled(*_: object) -> None:
        raise RoundCancelled

    made = trainer(sqlite_store, artifacts, tiny_base, tmp_path / "work")
    with pytest.raises(RoundCancelled):
        made.train("run_1", dataset_id, RECIPE, cancelled)
    with sqlite_store.read() as conn:
        run = runs.find(conn, "run_1")
    assert run is not None
    assert (run.state, run.problem) == ("failed", "The round was cancelled.")
    assert list((tmp_path / "work").iterdir()) == []


@pytest.mark.slow
def test_a_failed_run_says_why_and_may_be_tried_again(
    sqlite_store: Store, artifacts: Artifacts, tiny_base: BaseModel, dataset_id: str, tmp_path: Path
) -> None:
    broken = BaseModel("gone", tmp_path / "nowhere", "0" * 64, "test")
    with pytest.raises(TrainingFailed, match="exit status 1"):
        trainer(sqlite_store, artifacts, broken, tmp_path / "work").train("run_1", dataset_id, RECIPE)
    with sqlite_store.read() as conn:
        run = runs.find(conn, "run_1")
    assert run is not None
    assert run.state == "failed"
    assert run.problem is not None
    again = trainer(sqlite_store, artifacts, tiny_base, tmp_path / "work")
    assert again.train("run_1", dataset_id, Recipe(**{**RECIPE.as_dict(), "steps": 1})).run_id == "run_1"


def test_an_unknown_dataset_is_not_found(
    sqlite_store: Store, artifacts: Artifacts, tiny_base: BaseModel, tmp_path: Path
) -> None:
    with pytest.raises(NotFound):
        trainer(sqlite_store, artifacts, tiny_base, tmp_path / "work").train("run_1", "ds_0", RECIPE)


def test_a_run_killed_after_publishing_is_closed(
    sqlite_store: Store, artifacts: Artifacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = BaseModel("gone", tmp_path / "nowhere", "0" * 64, "test")
    done = Adapter(
        ref=AdapterRef("shop", 1),
        weights_sha256="a" * 64,
        config_sha256="b" * 64,
        size_bytes=9,
        rank=4,
        base_sha256=base.sha256,
        dataset_id="ds_1",
        run_id="run_1",
        created_at=datetime.now(UTC),
    )
    monkeypatch.setattr(adapters, "of_run", lambda conn, run_id: done)
    with sqlite_store.write() as conn:
        runs.start(conn, "run_1", "ds_1", {}, 3)
    left = tmp_path / "work" / "run_1"
    (left / "adapter").mkdir(parents=True)
    made = trainer(sqlite_store, artifacts, base, tmp_path / "work")
    for _ in range(2):
        assert made.train("run_1", "ds_1", RECIPE) == done
        with sqlite_store.read() as conn:
            run = runs.find(conn, "run_1")
        assert run is not None
        assert (run.state, run.adapter, left.exists()) == ("done", "shop@v1", False)


def test_training_ends_where_nobody_asks_for_it_any_more(tmp_path: Path) -> None:
    """Before anything heavy is imported."""
    (tmp_path / "job.json").write_text(json.dumps({"parent": os.getppid()}))  # not us, who start it
    command = [sys.executable, "-X", "importtime", "-m", "training.finetune", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1
    assert "is gone" in done.stderr
    assert not {"torch", "sqlalchemy", "pydantic"} & {
        line.rpartition("|")[2].strip() for line in done.stderr.splitlines()
    }


@pytest.fixture(scope="module")
def tokenizer(tiny_base: BaseModel) -> ChatTokenizer:
    return ChatTokenizer(load_tokenizer(tiny_base))


def test_training_reads_a_chat_as_serving_does(tokenizer: ChatTokenizer) -> None:
    one = example(1)
    row = tokens(tokenizer, one, 512)
    prompt = tokenizer.render(one.messages)
    assert row is not None
    assert row["input_ids"][: len(prompt)] == prompt
    assert row["labels"] == [IGNORED] * len(prompt) + row["input_ids"][len(prompt) :]
    assert row["input_ids"][-1] == tokenizer.eos
    assert tokenizer.decode(row["input_ids"][len(prompt) : -1]) == one.reply


def test_control_tokens_in_a_reply_are_just_characters(tokenizer: ChatTokenizer) -> None:
    row = tokens(tokenizer, replace(example(1), reply="done<|im_end|>x"), 512)
    assert row is not None
    assert row["labels"].count(tokenizer.eos) == 1


def test_of_a_long_chat_the_oldest_exchanges_are_left_out_and_the_prompt_stays(tokenizer: ChatTokenizer) -> None:
    one = example(1)
    said = [Message(role, f"word {n}") for n in range(60) for role in ("user", "assistant")]
    long = replace(one, messages=(one.messages[0], *said, one.messages[-1]))
    row = tokens(tokenizer, long, 128)
    assert row is not None
    assert len(row["input_ids"]) <= 128
    read = tokenizer.decode(row["input_ids"])
    assert PROMPT in read
    assert one.messages[-1].content in read
    assert read.endswith(one.reply + tokenizer.decode([tokenizer.eos]))
    assert "word 0" not in read
    assert "word 59" in read


def test_an_example_that_does_not_fit_is_left_out(tokenizer: ChatTokenizer) -> None:
    assert tokens(tokenizer, example(1, text="word " * 200), 64) is None


@pytest.mark.slow
def test_steps_follow_from_the_data(
    sqlite_store: Store, artifacts: Artifacts, tiny_base: BaseModel, dataset_id: str, tmp_path: Path
) -> None:
    made = trainer(sqlite_store, artifacts, tiny_base, tmp_path / "work")
    reported: list[tuple[int, int]] = []
    made.train("run_1", dataset_id, replace(RECIPE, steps=None, epochs=2.0), lambda a, b, _: reported.append((a, b)))
    train = len(Datasets(sqlite_store, artifacts, PROMPT, 0.25).read(dataset_id).train)
    wanted = math.ceil(2 * train / RECIPE.batch)
    assert reported == [(n + 1, wanted) for n in range(wanted)]
    with sqlite_store.read() as conn:
        run = runs.find(conn, "run_1")
    assert run is not None
    assert (run.step, run.steps) == (wanted, wanted)
