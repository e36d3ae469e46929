"""Files by hash: whole or not there, and every read checked."""

from __future__ import annotations

import hashlib
import re
import signal
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoptalk.errors import ArtifactCorrupt, ArtifactMissing
from shoptalk.models.artifacts import Artifacts

DATA = b"a small file"
SHA = hashlib.sha256(DATA).hexdigest()


@pytest.fixture(params=["file", "memory"])
def artifacts(request: pytest.FixtureRequest, tmp_path: Path) -> Artifacts:
    return Artifacts(str(tmp_path / "a") if request.param == "file" else f"memory://{uuid4().hex}")


def test_bytes_come_back_by_their_hash(artifacts: Artifacts) -> None:
    assert artifacts.put(DATA) == artifacts.put(DATA) == SHA
    assert artifacts.get(SHA) == DATA
    artifacts.delete(SHA)
    artifacts.delete(SHA)
    with pytest.raises(ArtifactMissing):
        artifacts.get(SHA)


@given(position=st.integers(0, len(DATA) - 1), bit=st.integers(0, 7))
def test_one_flipped_bit_is_noticed(tmp_path_factory: pytest.TempPathFactory, position: int, bit: int) -> None:
    artifacts = Artifacts(str(tmp_path_factory.mktemp("a")))
    path = Path(artifacts.path_of(artifacts.put(DATA)))
    altered = bytearray(DATA)
    altered[position] ^= 1 << bit
    path.write_bytes(altered)
    with pytest.raises(ArtifactCorrupt, match=SHA):
        artifacts.get(SHA)


def test_a_shortened_file_is_noticed(tmp_path: Path) -> None:
    artifacts = Artifacts(str(tmp_path))
    Path(artifacts.path_of(artifacts.put(DATA))).write_bytes(DATA[:-1])
    with pytest.raises(ArtifactCorrupt):
        artifacts.get(SHA)


@pytest.mark.parametrize("name", ["", "../../etc/passwd", SHA.upper(), SHA[:-1], SHA + "/..", "g" * 64])
def test_only_hashes_are_names(tmp_path: Path, name: str) -> None:
    with pytest.raises(ArtifactMissing):
        Artifacts(str(tmp_path)).get(name)


def test_a_killed_writer_leaves_no_half_file_under_a_hash(tmp_path: Path) -> None:
    """Killed again and again in the middle of writing; whatever is named by a hash has that hash."""
    code = (
        "import os, sys\n"
        "from shoptalk.models.artifacts import Artifacts\n"
        "a = Artifacts(sys.argv[1])\n"
        "print('ready', flush=True)\n"
        "while True: a.put(os.urandom(3_000_000))\n"
    )
    for wait in (1, 2, 3):
        child = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        child.stdout.readline()
        while len(_whole(tmp_path)) < 2 * wait:  # it works until it is killed
            assert child.poll() is None
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
    artifacts = Artifacts(str(tmp_path))
    for sha in _whole(tmp_path):
        assert len(artifacts.get(sha)) == 3_000_000


def _whole(folder: Path) -> list[str]:
    return [p.name for p in folder.glob("*/*") if re.fullmatch("[0-9a-f]{64}", p.name)]
