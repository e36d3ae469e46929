"""The pictures of the state machines are what `scripts/state_machines.py` draws of `shoptalk.moves` now."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType
from xml.etree import ElementTree

import pytest

from shoptalk.moves import MACHINES, Machine, plain
from tests.conftest import ROOT

SCRIPT = ROOT / "scripts" / "state_machines.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("state_machines", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["state_machines"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_pictures_are_up_to_date(script: ModuleType) -> None:
    stale = [
        str(path.relative_to(ROOT))
        for path, svg in script.pictures().items()
        if not path.exists() or path.read_text() != svg
    ]
    assert not stale, f"{', '.join(stale)}: not what shoptalk/moves.py says now; run: python scripts/state_machines.py"


def test_there_is_no_other_picture_of_states(script: ModuleType) -> None:
    assert set(script.IMAGES.glob("state-*.svg")) == set(script.pictures())


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.noun)
def test_a_picture_shows_every_state_and_move(script: ModuleType, machine: Machine[str]) -> None:
    drawn = ElementTree.fromstring(script.draw(machine))
    words = [text.text or "" for text in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert {plain(state) for state in machine.states} <= set(words)
    assert {plain(move) for move in machine.moves} <= {part for text in words for part in text.split(", ")}
