"""Compiled code is cached for the next process; files that are damaged or may be another user's are not used."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import structlog
from numba import types

from chatbot.engine.compute import kernel_cache
from chatbot.engine.compute.kernel_cache import KernelCompiler
from tests.conftest import ROOT

pytestmark = pytest.mark.slow

SQUARES = types.int64(types.int64)
PROGRAM = """
import sys
from pathlib import Path
import numba
from chatbot.engine.compute.threads import ThreadTeam
from tests.chatbot.test_kernel_cache import squares
def refuse(*_, **__): raise AssertionError("compiled again")
numba.cfunc = refuse
print(squares(Path(sys.argv[1]))(12))
"""


def body(n: int) -> int:
    return n * n


def squares(folder: Path, name: str = "squares") -> Callable[[int], int]:
    compiler = KernelCompiler(folder)
    call = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(compiler.address(name, SQUARES, body))
    return lambda n: call(n) if compiler else 0  # and so the code lives


def test_another_process_links_what_was_compiled(tmp_path: Path) -> None:
    folder = tmp_path / "kernels"
    assert squares(folder)(12) == 144
    (path,) = folder.iterdir()
    assert (folder.stat().st_mode & 0o777, path.stat().st_mode & 0o777) == (0o700, 0o600)
    command = [sys.executable, "-c", PROGRAM, str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "144", done.stderr


def test_other_names_and_types_are_other_files(tmp_path: Path) -> None:
    squares(tmp_path)
    squares(tmp_path, "others")
    KernelCompiler(tmp_path).address("squares", types.int32(types.int32), body)
    assert len(list(tmp_path.iterdir())) == 3


def test_another_compiler_compiles_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    squares(tmp_path)
    monkeypatch.setenv("NUMBA_LOOP_VECTORIZE", "0")  # as another compiler version would
    kernel_cache._environment.cache_clear()
    squares(tmp_path)
    kernel_cache._environment.cache_clear()
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("damage", ["cut", "changed", "empty", "writable", "folder", "link", "foreign"])
def test_what_cannot_be_trusted_is_compiled_again(tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "kernels"
    squares(folder)
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    if damage == "cut":
        path.write_bytes(whole[:-100])
    elif damage == "changed":
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "writable":
        path.chmod(0o620)
    elif damage == "folder":
        folder.chmod(0o770)
    elif damage == "link":
        path.rename(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
    elif os.geteuid() == 0:
        os.chown(path, 12345, -1)
    else:
        pytest.skip("only root gives a file away")
    with structlog.testing.capture_logs() as logs:
        assert squares(folder)(12) == 144
    assert [line["event"] for line in logs] == ["compiled kernel not used"]
    if damage != "folder":  # that is for a person to change
        with structlog.testing.capture_logs() as logs:
            assert squares(folder)(12) == 144
        assert logs == []


def test_without_a_cache_folder_it_still_compiles(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with structlog.testing.capture_logs() as logs:
        assert squares(tmp_path / "file" / "kernels")(12) == 144
    assert "compiled kernel not cached" in [line["event"] for line in logs]
