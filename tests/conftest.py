"""Fixtures and hooks for all tests: a store on both databases, a tiny model that answers at once, parallel runs."""

from __future__ import annotations

import faulthandler
import hashlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from shoptalk.errors import BaseModelMissing
from shoptalk.models.basemodel import BaseModel, find_base_model
from shoptalk.store import Store
from tests.postgres import PostgresServer, find_programs
from tests.workers import UnitScheduling, crash_report, fault_file, queue_position, unit_of

ROOT = Path(__file__).parents[1]
settings.register_profile("shoptalk", deadline=None)  # a busy machine is not a bug
settings.load_profile("shoptalk")
MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
ALL_SLOW = re.compile(r"^pytestmark = \[?pytest\.mark\.slow", re.MULTILINE)
KERNELS = Path(os.environ.setdefault("SHOPTALK_KERNELS", str(ROOT / "data" / "kernels")))  # compiled once for all tests


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    """Divide the tests among the processes of `--numprocesses`."""
    config.option.loadscopereorder = False  # the queue is in the order of the tests
    return UnitScheduling(config, log)


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Write the stacks of a crashing process to a file.

    Runs after pytest's own handler, which writes to the output: CI's log may end before that.
    """
    if "PYTEST_XDIST_WORKER" in os.environ:
        path = fault_file(os.environ["PYTEST_XDIST_TESTRUNUID"], os.environ["PYTEST_XDIST_WORKER"])
        faulthandler.enable(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600))


def pytest_unconfigure() -> None:
    """Delete the file of a process that ended normally."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        fault_file(os.environ["PYTEST_XDIST_TESTRUNUID"], os.environ["PYTEST_XDIST_WORKER"]).unlink(missing_ok=True)


@pytest.hookimpl(optionalhook=True)
def pytest_handlecrashitem(report: pytest.TestReport) -> None:
    """Add to the report how a process of `--numprocesses` ended."""
    report.longrepr = f"{report.longrepr}\n{crash_report(getattr(report, 'node', None))}"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not even import files that have only slow tests, where slow tests are left out."""
    if not str(config.getoption("markexpr")).startswith("not slow") or collection_path.suffix != ".py":
        return None
    return True if ALL_SLOW.search(collection_path.read_text()) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest tests first, where tests run side by side."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: queue_position(unit_of(item.nodeid)))


def missing(reason: str) -> None:
    """Skip what this machine cannot run, or fail where everything is required."""
    if os.environ.get("REQUIRE_ALL") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def loaded_scrubber() -> Iterator[None]:
    """Keep the process that scrubbing processes are forked from, so that no service of a test must load it again."""
    from ingest.scrub.workers.shared import acquire, release

    template = acquire(())
    yield
    release(template)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One PostgreSQL server for the session."""
    programs = find_programs()
    if programs is None:
        missing("PostgreSQL's server programs (initdb, pg_ctl) are not installed")
    assert programs is not None
    with PostgresServer(programs) as server:
        yield server


@pytest.fixture(scope="session")
def postgres_template(postgres: PostgresServer) -> str:
    """The name of a migrated database to copy."""
    name = postgres.create()
    store = Store(postgres.url(name))
    store.migrate()
    store.close()
    return name


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> Iterator[str]:
    """The URL of an empty database for this test alone."""
    name = postgres.create()
    yield postgres.url(name)
    postgres.drop(name)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, on each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'shoptalk.db'}"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """A fresh database at the newest schema, on each kind."""
    if request.param == "sqlite":
        yield from _sqlite(tmp_path)
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    name = server.create(request.getfixturevalue("postgres_template"))
    made = Store(server.url(name))
    yield made
    made.close()
    server.drop(name)


@pytest.fixture
def sqlite_store(tmp_path: Path) -> Iterator[Store]:
    """A fresh SQLite database, for tests that do not depend on the kind."""
    yield from _sqlite(tmp_path)


def _sqlite(folder: Path) -> Iterator[Store]:
    made = Store(f"sqlite:///{folder / 'shoptalk.db'}")
    made.migrate()
    yield made
    made.close()


@pytest.fixture(scope="session")
def real_base() -> BaseModel:
    """The default base model. Skips the test where it was not fetched."""
    models = Path(os.environ.get("SHOPTALK_MODELS") or ROOT / "data" / "models")
    try:
        return find_base_model(models, MODEL)
    except BaseModelMissing as error:
        missing(error.message)
        raise


@pytest.fixture(scope="session")
def tiny_base(real_base: BaseModel, tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    """A random two-layer Llama in fp32 with the real tokenizer: it runs the same code without waiting."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("models") / "tiny"
    tokenizer = AutoTokenizer.from_pretrained(real_base.folder, local_files_only=True)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        tie_word_embeddings=False,
        initializer_range=0.2,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng():
        torch.manual_seed(20)
        LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    sha = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    (folder / "base.json").write_text(json.dumps({"name": "tiny", "sha256": sha, "source": "test"}))
    return find_base_model(folder.parent, "tiny")
