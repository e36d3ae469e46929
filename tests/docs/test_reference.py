"""docs/reference/ says what the code says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from shoptalk.settings import Settings

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference"


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages as the code would have them, made without this process's settings."""
    folder = tmp_path_factory.mktemp("reference")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SHOPTALK_")}
    command = [sys.executable, str(ROOT / "scripts" / "reference.py"), str(folder)]
    subprocess.run(command, check=True, cwd=folder, env=environment)
    return folder


def test_pages_are_those_that_are_generated(generated: Path) -> None:
    assert {path.name for path in REFERENCE.iterdir()} == {path.name for path in generated.iterdir()}


@pytest.mark.parametrize("name", ["cli.md", "http.md", "metrics.md", "modules.md", "settings.md", "tables.md"])
def test_a_page_is_up_to_date(generated: Path, name: str) -> None:
    fresh = (REFERENCE / name).read_text() == (generated / name).read_text()
    assert fresh, f"docs/reference/{name} is stale: run scripts/reference.py"


def test_every_setting_is_there(generated: Path) -> None:
    text = (generated / "settings.md").read_text()
    assert [name for name in Settings.model_fields if f"| `SHOPTALK_{name.upper()}` |" not in text] == []


def test_every_route_says_its_scope(generated: Path) -> None:
    _, *routes = (generated / "http.md").read_text().partition("\n## Shapes")[0].split("\n## ")
    open_to_all = [route.split("\n")[0] for route in routes if "No API key is needed." in route]
    assert open_to_all == ["GET /healthz", "GET /readyz", "GET /metrics"]
    assert all(("Scope: `" in route) != ("No API key is needed." in route) for route in routes)


def test_every_table_names_its_eraser(generated: Path) -> None:
    _, *tables = (generated / "tables.md").read_text().split("\n### ")
    assert all("\nEraser: " in table for table in tables)
    assert sum("Eraser: none." not in table for table in tables) > len(tables) / 2
