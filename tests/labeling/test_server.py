"""Starting and stopping a local Label Studio."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import httpx
import pytest

from labeling.label_studio.client import LabelStudio
from labeling.label_studio.datafolder import COMPLETE, DATABASE, MIGRATED, DataFolder
from labeling.label_studio.server import LabelStudioServer
from shoptalk.errors import ConfigurationError, LabelStudioUnavailable


def test_not_installed(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"scripts/label_studio\.sh"):
        LabelStudioServer(tmp_path / "none", tmp_path / "data").start()


def test_a_template_is_made_once_and_again_when_it_is_incomplete(tmp_path: Path) -> None:
    made: list[Path] = []

    def migrate(folder: Path) -> None:
        made.append(folder)
        (folder / DATABASE).write_text(f"database {len(made)}")
        if len(made) == 1:
            raise LabelStudioUnavailable("killed")

    template = tmp_path / "template"
    with pytest.raises(LabelStudioUnavailable):
        DataFolder(tmp_path / "a").prepare(template, migrate)
    assert not (template / MIGRATED).exists()
    for name in ("a", "b", "a"):
        DataFolder(tmp_path / name).prepare(template, migrate)
    assert len(made) == 2
    assert DataFolder(tmp_path / "b").database.read_text() == "database 2"


def test_a_template_of_an_earlier_version_is_used(tmp_path: Path) -> None:
    (tmp_path / "template" / "data").mkdir(parents=True)
    (tmp_path / "template" / "data" / DATABASE).write_text("as it was")
    (tmp_path / "template" / COMPLETE).touch()
    DataFolder(tmp_path / "a").prepare(tmp_path / "template", lambda folder: pytest.fail("migrated again"))
    assert DataFolder(tmp_path / "a").database.read_text() == "as it was"


def test_tokens_are_kept_private_and_apart(tmp_path: Path) -> None:
    folder, other = DataFolder(tmp_path / "a"), DataFolder(tmp_path / "b")
    for each in (folder, other):
        each.path.mkdir()
    token = folder.token()
    assert len(token) == 40
    assert DataFolder(tmp_path / "a").token() == token
    assert stat.S_IMODE((folder.path / "token").stat().st_mode) == 0o600
    assert stat.S_IMODE(Path(folder.path / "password").stat().st_mode if folder.password() else 0) == 0o600
    assert other.token("0" * 40) == "0" * 40
    assert other.token() != token
    with pytest.raises(ConfigurationError, match="SHOPTALK_LABEL_STUDIO_TOKEN") as error:
        folder.token("1" * 40)
    assert token not in str(error.value)
    with pytest.raises(ConfigurationError, match="40"):
        folder.token("short")


@pytest.mark.slow
@pytest.mark.label_studio
def test_a_busy_port_is_refused(label_studio_venv: Path, tmp_path: Path, server: LabelStudioServer) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        second = LabelStudioServer(
            label_studio_venv, tmp_path / "data", port=port, template_dir=label_studio_venv / "template"
        )
        with pytest.raises(ConfigurationError, match=str(port)):
            second.start()
    assert second.pid is None


@pytest.mark.slow
@pytest.mark.label_studio
def test_it_answers_here_only_and_takes_its_token(server: LabelStudioServer, client: LabelStudio) -> None:
    client.ping()
    assert server.start() is server  # again is no harm
    assert stat.S_IMODE(server.folder.path.stat().st_mode) == 0o700
    assert stat.S_IMODE(server.folder.log.stat().st_mode) == 0o600
    assert server.token not in server.log_tail(10_000)
    assert server.password not in server.log_tail(10_000)
    port = int(server.url.rsplit(":", 1)[1])
    with socket.socket() as other_address:
        assert other_address.connect_ex(("127.0.0.2", port)) != 0


@pytest.mark.slow
@pytest.mark.label_studio
def test_it_ends_with_the_process_that_started_it(label_studio_venv: Path, tmp_path: Path) -> None:
    script = textwrap.dedent(
        f"""
        import time
        from pathlib import Path
        from labeling.label_studio.server import LabelStudioServer
        venv = Path({str(label_studio_venv)!r})
        server = LabelStudioServer(venv, Path({str(tmp_path)!r}) / "data", template_dir=venv / "template").start()
        print(server.url, server.pid, flush=True)
        time.sleep(600)
        """
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as owner:
        try:
            assert owner.stdout is not None
            url, pid = owner.stdout.readline().split()
            assert httpx.get(f"{url}/health", trust_env=False).status_code == 200
        finally:
            owner.kill()
    deadline = time.monotonic() + 15
    while _group_lives(int(pid)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _group_lives(int(pid))
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{url}/health", trust_env=False)
    # the same folder again: same token, as it was
    again = LabelStudioServer(label_studio_venv, tmp_path / "data")
    with again, LabelStudio(again.url, again.token) as client:
        client.ping()
        supervisor = again.pid
        assert supervisor is not None
        os.kill(supervisor, signal.SIGKILL)  # even without its supervisor it does not stay
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline:
            try:
                client.ping()
            except LabelStudioUnavailable:
                break
            time.sleep(0.1)
        else:
            pytest.fail("Label Studio outlived its supervisor")


def _group_lives(leader: int) -> bool:
    try:
        os.killpg(leader, 0)
    except ProcessLookupError:
        return False
    return True
