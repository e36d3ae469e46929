"""Other users of the machine read nothing of the shop's: files, logs and the first key, under the most open umask."""

from __future__ import annotations

import grp
import json
import os
import pty
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from chatbot.engine.vllm.adapters import AdapterFolder
from shoptalk.errors import ConfigurationError
from shoptalk.file_modes import loose, tighten
from shoptalk.models.adapterfile import AdapterFiles
from shoptalk.processes.sockets import free_port
from shoptalk.processes.supervisor import FIRST_KEY, hand_over
from shoptalk.store import Store
from tests.e2e.stack import ROOT, until

pytestmark = pytest.mark.slow

SECRET = b"sk-shoptalk-"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def open_to_others(folder: Path) -> list[str]:
    """What the group or everybody has a right on, in a folder and the folder itself."""
    return [f"{mode(p):04o} {p}" for p in (folder, *folder.rglob("*")) if not p.is_symlink() and mode(p) & 0o077]


def environment(home: Path, **values: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("SHOPTALK_")}
    return kept | {
        "SHOPTALK_HOME": str(home), "SHOPTALK_ENGINE": "null", "SHOPTALK_PORT": str(free_port()),
        "SHOPTALK_LABEL_STUDIO_URL": "http://127.0.0.1:9", "SHOPTALK_LABEL_STUDIO_VENV": str(home / "none"), **values,
    }  # fmt: skip


def command(*words: str) -> list[str]:
    return ["sh", "-c", 'umask 0; exec "$@"', "sh", sys.executable, "-m", "shoptalk.cli", *words]


def run(home: Path, *words: str, **values: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*words), env=environment(home, **values), capture_output=True, text=True, cwd=ROOT, check=False,
        timeout=120,
    )  # fmt: skip


@pytest.mark.slow
def test_all_that_a_running_shop_writes_is_its_owners_alone(tmp_path: Path) -> None:
    home, log = tmp_path / "home", tmp_path / "service.log"
    with log.open("wb") as out:
        shop = subprocess.Popen(command("up"), env=environment(home), stdout=out, stderr=out, cwd=ROOT)
        try:
            until(lambda: b"Ctrl-C stops both" in log.read_bytes() or shop.poll() is not None, "the shop to be up")
            until(lambda: (home / "jobs.db").exists() and (home / "executors").exists(), "the worker to work", 300)
            time.sleep(0.5)
            assert open_to_others(home) == []
            assert {"shoptalk.db", "shoptalk.db-wal", "shoptalk.db-shm", "secret.key", FIRST_KEY} <= {
                path.name for path in home.iterdir()
            }
        finally:
            shop.terminate()  # a background job of a shell ignores SIGINT
            shop.wait(120)
    assert SECRET not in log.read_bytes()
    assert str(home / FIRST_KEY) in log.read_text()
    secret = (home / FIRST_KEY).read_text().strip()
    assert secret.startswith(SECRET.decode())
    rows = json.loads(run(home, "keys", "list", "--json").stdout)
    assert [row["name"] for row in rows] == ["first"]


def test_the_first_key_is_shown_on_a_terminal_only(tmp_path: Path) -> None:
    imports = "from pathlib import Path; from shoptalk.processes.supervisor import hand_over"
    script = f"{imports}; print(hand_over('sk-shoptalk-x', Path({str(tmp_path)!r})))"
    ours, theirs = pty.openpty()
    subprocess.run([sys.executable, "-c", script], stdout=theirs, check=True, cwd=ROOT, timeout=60)
    os.close(theirs)
    assert SECRET in os.read(ours, 1000)
    os.close(ours)
    assert list(tmp_path.iterdir()) == []


def test_a_link_in_the_place_of_the_keys_file_is_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").write_text("kept")
    (tmp_path / "mine").chmod(0o644)
    (tmp_path / FIRST_KEY).symlink_to(tmp_path / "mine")
    words = hand_over("sk-shoptalk-x", tmp_path)
    assert "sk-shoptalk-x" not in words
    assert (tmp_path / "mine").read_text() == "kept"
    assert mode(tmp_path / FIRST_KEY) == 0o600
    assert not (tmp_path / FIRST_KEY).is_symlink()


def older(home: Path) -> Path:
    """A data folder as an earlier version made it under the usual umask."""
    for name in (
        "artifacts/ab",
        "executors",
        "logs",
        "label-studio/media",
        "work/run_1",
        "models/m",
        "vllm-adapters",
        "kernels",
    ):
        (home / name).mkdir(parents=True)
    for name in (
        "shoptalk.db", "shoptalk.db-wal", "shoptalk.db-shm", "jobs.db", "artifacts/ab/abcd", "logs/serve.log",
        "label-studio/label_studio.sqlite3", "label-studio/media/a", "work/run_1/dataset.json", "models/m/weights",
        "kernels/ab.o", "unnamed-proxies.json",
    ):  # fmt: skip
        (home / name).write_bytes(b"")
    for path in (home, *home.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return home


def test_a_folder_of_an_earlier_version_is_closed_at_start(tmp_path: Path) -> None:
    home = older(tmp_path / "home")
    (home / "logs" / "link").symlink_to(tmp_path / "outside")
    (tmp_path / "outside").write_text("")
    (tmp_path / "outside").chmod(0o644)
    done = run(home, "keys", "list", "--json")
    assert (done.returncode, json.loads(done.stdout)) == (0, [])
    assert "took other users' rights" in done.stderr
    assert [line for line in open_to_others(home) if "/models" not in line and "/vllm-adapters" not in line] == []
    assert mode(home / "models" / "m" / "weights") == 0o644  # vLLM's, and no secret
    assert mode(tmp_path / "outside") == 0o644
    assert "took" not in run(home, "keys", "list", "--json").stderr


def test_a_folder_that_holds_other_things_keeps_its_own_mode(tmp_path: Path) -> None:
    """SHOPTALK_HOME=. or /tmp: only what is shoptalk's is closed, and the doctor says the rest."""
    home = older(tmp_path / "home")
    (home / "pyproject.toml").write_text("")
    (home / "pyproject.toml").chmod(0o644)
    tighten(home)
    assert (mode(home), mode(home / "pyproject.toml"), mode(home / "shoptalk.db")) == (0o755, 0o644, 0o600)
    assert loose(home) == [home]


def doctor(home: Path, **values: str) -> dict[str, dict[str, Any]]:
    return {row["check"]: row for row in json.loads(run(home, "doctor", "--json", **values).stdout)}


def test_the_doctor_names_the_command_that_closes_each(tmp_path: Path) -> None:
    home = older(tmp_path / "home")
    problems = {row["fix"] for name, row in doctor(home).items() if name.startswith("mode of")}
    wanted = {f"chmod go= {home}", f"chmod go= {home / 'shoptalk.db'}", f"chmod -R go= {home / 'label-studio'}"}
    assert wanted <= problems
    assert mode(home) == 0o755  # it changes nothing
    for line in problems:
        subprocess.run(["sh", "-c", line], check=True)
    found = doctor(home)
    assert found["file modes"]["state"] == "ok"
    assert not [name for name in found if name.startswith("mode of")]


def test_a_database_elsewhere_is_looked_at_too(tmp_path: Path) -> None:
    other = tmp_path / "db" / "shop.db"
    other.parent.mkdir()
    other.touch()
    other.chmod(0o644)
    found = doctor(tmp_path / "home", SHOPTALK_DATABASE_URL=f"sqlite:///{other}")
    assert found["mode of shop.db"]["fix"] == f"chmod go= {other}"


def test_what_vllm_reads_has_modes_of_its_own(tmp_path: Path) -> None:
    before = os.umask(0o077)
    group = grp.getgrgid(os.getegid()).gr_name
    try:
        for given, folders, files in ((0o700, 0o700, 0o600), (0o750, 0o750, 0o640), (0o755, 0o755, 0o644)):
            folder = AdapterFolder(tmp_path / f"{given:o}", given, group)
            folder.open()
            folder.write("shop@v1-0123456789abcdef", AdapterFiles(b"{}", b"weights"))
            folder.close()
            written = folder.path / "shop@v1-0123456789abcdef"
            assert {mode(folder.path), mode(written)} == {folders}
            assert {mode(path) for path in written.iterdir()} == {files}
    finally:
        os.umask(before)
    with pytest.raises(ConfigurationError, match="SHOPTALK_VLLM_ADAPTERS_GROUP"):
        AdapterFolder(tmp_path / "none", 0o750, "no-such-group").open()


def test_the_doctor_says_where_vllm_could_not_read(tmp_path: Path) -> None:
    settings = {"SHOPTALK_ENGINE": "vllm", "SHOPTALK_VLLM_URL": "http://127.0.0.1:9", "SHOPTALK_MODELS": str(tmp_path)}
    found = doctor(tmp_path / "home", SHOPTALK_VLLM_ADAPTERS_GROUP="vllm", **settings)["vLLM's adapters"]
    assert "no other user may enter" in found["found"]
    assert found["fix"] == "set SHOPTALK_VLLM_ADAPTERS to a folder outside of SHOPTALK_HOME"
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "photo").touch()
    found = doctor(tmp_path / "home", SHOPTALK_VLLM_ADAPTERS=str(tmp_path / "used"), **settings)["vLLM's adapters"]
    assert "in use by something else" in found["found"]
    assert found["fix"].startswith("set it to a new or empty folder")


HELD = """
import fcntl, sys
with open(sys.argv[1], "r+b") as file:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 128)  # the byte that says who uses the file
    except OSError:
        print("held")
"""


def test_a_database_in_use_keeps_its_locks(tmp_path: Path) -> None:
    """Else another process that opens it cuts its index away, and this one ends by SIGBUS."""
    home = tmp_path / "home"
    home.mkdir()
    store = Store(f"sqlite:///{home / 'shoptalk.db'}")
    store.migrate()
    with store.read() as conn:
        conn.execute(sa.text("select 1"))
        for path in home.iterdir():
            path.chmod(0o644)
        assert {path.name for path in tighten(home)} >= {"shoptalk.db", "shoptalk.db-shm", "shoptalk.db-wal"}
        asked = [sys.executable, "-c", HELD, str(home / "shoptalk.db-shm")]
        assert subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip() == "held"
    store.close()
