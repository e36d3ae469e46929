"""Runs a local Label Studio from an environment of its own, for one person or for tests.

Knows processes, ports and Label Studio's variables, but neither projects nor tasks. The server listens on 127.0.0.1
only and sends no usage statistics. It ends with the process that started it, even if that was killed.

Deleted text: Label Studio keeps SQLite's rollback journal (no WAL file), and is started here with
`PRAGMA secure_delete=ON`, so text that was overwritten or deleted through its API is zeroed in its database file. The
journal file itself is unlinked, not overwritten: free blocks of the disk may still hold it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO, Self

import httpx

from labeling.label_studio import supervisor
from labeling.label_studio.datafolder import DataFolder
from shoptalk.clock import MACHINE
from shoptalk.errors import ConfigurationError, LabelStudioUnavailable
from shoptalk.processes.sockets import LOOPBACK, free_port, is_free

USERNAME = "admin@shoptalk.invalid"
MAIN = """
from django.db.backends.signals import connection_created
def overwrite_deleted(connection, **_):
    if connection.vendor == "sqlite":
        connection.cursor().execute("PRAGMA secure_delete=ON")
connection_created.connect(overwrite_deleted, weak=False)
from label_studio.server import main
main()
"""


class LabelStudioServer:
    """A local Label Studio. `port` 0 takes a free one; `token` None makes one per data folder and keeps it."""

    def __init__(
        self,
        venv: Path,
        data_dir: Path,
        port: int = 0,
        token: str | None = None,
        *,
        template_dir: Path | None = None,
        start_timeout_s: float = 240.0,
    ) -> None:
        self.venv = venv.absolute()
        self.folder = DataFolder(data_dir)
        self.template_dir = template_dir
        self.start_timeout_s = start_timeout_s
        self.username = USERNAME
        self._wanted_port = port
        self._wanted_token = token
        self._port: int | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its address. Raises LabelStudioUnavailable until it is started."""
        if self._port is None:
            raise LabelStudioUnavailable("Label Studio was not started")
        return f"http://{LOOPBACK}:{self._port}"

    @property
    def token(self) -> str:
        return self.folder.token(self._wanted_token)

    @property
    def password(self) -> str:
        return self.folder.password()

    @property
    def pid(self) -> int | None:
        """The process id of its supervisor, which leads the process group; None while it does not run."""
        return self._process.pid if self._process else None

    def start(self) -> Self:
        """Start and wait until it answers. Safe to call when it runs already.

        Raises ConfigurationError or LabelStudioUnavailable.
        """
        if self._process is not None and self._process.poll() is None:
            return self
        if not (self.venv / "bin" / "label-studio").exists():
            raise ConfigurationError(f"Label Studio is not installed in {self.venv}", fix="run scripts/label_studio.sh")
        self.folder.prepare(self.template_dir, self._migrate)
        token = self.token
        tries = 1 if self._wanted_port else 3  # a free port may be taken between finding and using it
        for left in reversed(range(tries)):
            port = self._wanted_port or free_port()
            if not is_free(port):
                raise ConfigurationError(
                    f"port {port} is taken, so Label Studio was not started",
                    fix="stop what uses it, or set another port in SHOPTALK_LABEL_STUDIO_URL",
                )
            try:
                self._launch(port, token)
            except _PortLost:
                self.stop()
                if not left:
                    raise
            except BaseException:
                self.stop()
                raise
            else:
                break
        return self

    def stop(self) -> None:
        """Stop it and all its processes. Safe to call twice."""
        process, self._process, self._port = self._process, None, None
        if process is None:
            return
        if process.stdin:
            process.stdin.close()  # the supervisor stops everything then
        try:
            process.wait(timeout=supervisor.GRACE_S + 5)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _launch(self, port: int, token: str) -> None:
        command = self._command("start", "--no-browser", "--internal-host", LOOPBACK, "--port", str(port))
        secrets = {
            "LABEL_STUDIO_USERNAME": self.username,
            "LABEL_STUDIO_PASSWORD": self.password,
            "LABEL_STUDIO_USER_TOKEN": token,
            "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
        }
        with self._open_log() as log:
            self._process = subprocess.Popen(
                [sys.executable, "-I", supervisor.__file__, *command],
                env=self._environment(self.folder.path) | secrets,
                cwd=self.folder.path,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._wait_until_ready(self._process, port, token)
        self._port = port

    def _wait_until_ready(self, process: subprocess.Popen[bytes], port: int, token: str) -> None:
        """Wait until our process logs that it holds our port, it is healthy, and it accepts our token."""
        url = f"http://{LOOPBACK}:{port}"
        deadline = MACHINE.monotonic() + self.start_timeout_s
        with httpx.Client(base_url=url, timeout=10, trust_env=False) as http:
            while MACHINE.monotonic() < deadline:
                log = self.log_tail(200)
                if "is in use" in log or "already in use" in log:
                    raise _PortLost(f"port {port} was taken while Label Studio started", fix="try again")
                if process.poll() is not None:
                    raise LabelStudioUnavailable(f"Label Studio ended while starting:\n{self.log_tail()}")
                if f"server at {url}/" in log and _healthy(http):
                    answer = http.get("/api/current-user/whoami", headers={"Authorization": f"Token {token}"})
                    if answer.status_code != httpx.codes.OK:
                        raise ConfigurationError(
                            f"the Label Studio in {self.folder.path} does not accept its token",
                            fix="restore the file 'token' there, or remove the folder to start over",
                        )
                    return
                MACHINE.sleep(0.1)
        raise LabelStudioUnavailable(
            f"Label Studio did not answer at {url} within {self.start_timeout_s:.0f} s:\n{self.log_tail()}"
        )

    def _migrate(self, folder: Path) -> None:
        """Make an empty database without users in the folder."""
        command = self._command("version")  # it migrates first, and makes no user
        try:
            done = subprocess.run(
                command, env=self._environment(folder), cwd=folder, stdin=subprocess.DEVNULL, capture_output=True,
                text=True, timeout=self.start_timeout_s, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise LabelStudioUnavailable(
                f"Label Studio did not make its database within {self.start_timeout_s:.0f} s"
            ) from None
        if done.returncode:
            tail = "\n".join((done.stdout + done.stderr).splitlines()[-20:])
            raise LabelStudioUnavailable(f"Label Studio could not make its database:\n{tail}")

    def _command(self, *arguments: str) -> list[str]:
        return [str(self.venv / "bin" / "python"), "-c", MAIN, *arguments]

    def _environment(self, folder: Path) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("LABEL_STUDIO", "DJANGO", "PYTHON"))}
        return kept | {
            "LABEL_STUDIO_BASE_DATA_DIR": str(folder),
            "LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK": "true",
            "COLLECT_ANALYTICS": "false",
            "LATEST_VERSION_CHECK": "false",
            "SENTRY_DSN": "",
            "FRONTEND_SENTRY_DSN": "",
            "PYTHONUNBUFFERED": "1",
        }

    def _open_log(self) -> IO[bytes]:
        return os.fdopen(os.open(self.folder.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")

    def log_tail(self, lines: int = 20) -> str:
        """Return the last lines of Label Studio's log."""
        if not self.folder.log.exists():
            return ""
        return "\n".join(self.folder.log.read_text(errors="replace").splitlines()[-lines:])


class _PortLost(LabelStudioUnavailable):
    """Another program took the port while Label Studio started."""


def _healthy(http: httpx.Client) -> bool:
    try:
        return http.get("/health").status_code == httpx.codes.OK
    except httpx.TransportError:
        return False
