"""No test of settings sees this machine's own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, and no SHOPTALK_* in the environment."""
    for name in os.environ:
        if name.startswith("SHOPTALK_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path
