"""A database for each test and, for those that want it, one real Label Studio for all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from labeling.label_studio.client import LabelStudio
from labeling.label_studio.server import LabelStudioServer
from shoptalk.store.database import Store

ROOT = Path(__file__).parents[2]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(f"sqlite:///{tmp_path / 'shoptalk.db'}")
    store.migrate()
    yield store
    store.close()


@pytest.fixture(scope="session")
def label_studio_venv() -> Path:
    venv = Path(os.environ.get("SHOPTALK_LABEL_STUDIO_VENV") or ROOT / ".venv-label-studio")
    if not (venv / "bin" / "label-studio").exists():
        reason = f"Label Studio is not installed in {venv}; run scripts/label_studio.sh"
        if os.environ.get("REQUIRE_ALL") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return venv


@pytest.fixture(scope="session")
def server(label_studio_venv: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabelStudioServer]:
    data = tmp_path_factory.mktemp("label-studio")
    with LabelStudioServer(label_studio_venv, data, template_dir=label_studio_venv / "template") as server:
        yield server


@pytest.fixture
def client(server: LabelStudioServer) -> Iterator[LabelStudio]:
    with LabelStudio(server.url, server.token) as client:
        yield client


@pytest.fixture
def project(request: pytest.FixtureRequest) -> str:
    """A project title of the test's own; Label Studio takes at most 50 characters."""
    return str(request.node.name)[-48:]
