"""A real scrubber (built once, it takes seconds), real SQLite and real secrets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.scrub.analyzer import Analyzer
from ingest.scrub.scrubber import PresidioScrubber
from shoptalk.crypto import Secrets
from shoptalk.store import Store


@pytest.fixture(scope="session")
def scrubber() -> PresidioScrubber:
    """In this process; tests/ingest/test_workers.py is about the processes that it runs in."""
    return PresidioScrubber(Analyzer([r"\bZZ~\w{4}\b"]))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(f"sqlite:///{tmp_path / 'shoptalk.db'}")
    made.migrate()
    yield made
    made.close()


@pytest.fixture
def secrets() -> Secrets:
    return Secrets(bytes(range(32)))
