"""Runs the API and the worker as child processes: starts them, restarts one that died, stops both together."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import httpx
import structlog
import typer

from shoptalk.clock import MACHINE
from shoptalk.errors import ConfigurationError, ShoptalkError
from shoptalk.processes.parent_death import on_parent_death
from shoptalk.settings import Settings

log = structlog.get_logger(__name__)
READY_S = 180.0
OPEN_FILES = 65_536
FIRST_KEY = "first-admin-key"


class Supervisor:
    """The child processes of this one. Leaving the block stops them."""

    def __init__(
        self, settings: Settings, environment: Mapping[str, str] | None = None, logs: Path | None = None
    ) -> None:
        """`environment` is added to the children's; `logs` is a folder for their output instead of this terminal."""
        self.settings = settings
        self._environment = {**os.environ, **(environment or {})}
        self._logs = logs
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup has it
                signal.signal(number, _interrupt)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, name: str) -> subprocess.Popen[bytes]:
        """Start `serve` or `worker` and return its process."""
        command, before = [sys.executable, "-m", "shoptalk.cli", name], on_parent_death(signal.SIGTERM)
        with self._output(name) as out:  # one thread here, so that preexec_fn is safe
            child = subprocess.Popen(command, env=self._environment, stdout=out, stderr=out, preexec_fn=before)  # noqa: PLW1509
        self._children[name] = child
        return child

    def _output(self, name: str) -> AbstractContextManager[IO[bytes] | None]:
        """Return where a child writes: its log, or None for this terminal."""
        if self._logs is None:
            return nullcontext()
        self._logs.mkdir(parents=True, exist_ok=True)
        return (self._logs / f"{name}.log").open("ab")

    def wait_ready(self) -> None:
        """Wait until the API answers; raise ShoptalkError where it ended or takes too long."""
        deadline = MACHINE.monotonic() + READY_S
        while MACHINE.monotonic() < deadline:
            if (code := self._children["serve"].poll()) is not None:
                raise ShoptalkError(f"the API ended with status {code}", fix=self._where("serve"))
            try:
                if httpx.get(f"{self.settings.base_url}/readyz", timeout=2.0, trust_env=False).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            MACHINE.sleep(0.1)
        raise ShoptalkError(f"the API was not ready after {READY_S:.0f} s", fix=self._where("serve"))

    def watch(self) -> None:
        """Restart children that end, with exponential backoff, until Ctrl-C or SIGTERM."""
        failures = dict.fromkeys(self._children, 0)
        try:
            while True:
                MACHINE.sleep(0.5)
                for name, child in list(self._children.items()):
                    if child.poll() is not None:
                        failures[name] += 1
                        log.error("process ended; starting it again", process=name, status=child.returncode)
                        MACHINE.sleep(min(30.0, 0.5 * 2 ** min(failures[name], 6)))
                        self.start(name)
        except KeyboardInterrupt:
            typer.echo("stopping")

    def check(self) -> None:
        """Raise ShoptalkError where a child ended."""
        for name, child in self._children.items():
            if (code := child.poll()) is not None:
                raise ShoptalkError(f"the {name} process ended with status {code}", fix=self._where(name))

    def stop(self) -> None:
        for child in self._children.values():
            if child.poll() is None:
                child.terminate()
        for name, child in self._children.items():
            try:
                child.wait(timeout=20)
            except subprocess.TimeoutExpired:
                log.warning("process did not stop; killing it", process=name)
                child.kill()
                child.wait()
        self._children.clear()

    def _where(self, name: str) -> str:
        return f"see {self._logs / f'{name}.log'}" if self._logs else "see above"


def hand_over(secret: str, home: Path) -> str:
    """Return words that show the secret on a terminal, else words that name a file it was written to.

    Output that is no terminal may be kept in logs.
    """
    if sys.stdout.isatty():
        return f"shown this once: {secret}"
    home.mkdir(parents=True, exist_ok=True)
    path, aside = home / FIRST_KEY, home / f".{FIRST_KEY}.{os.getpid()}"
    handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "w") as out:
        os.fchmod(handle, 0o600)
        out.write(f"{secret}\n")
    aside.replace(path)
    return f"in {path.absolute()} (readable by its owner only; delete it once you keep the key elsewhere)"


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def check_port(settings: Settings) -> None:
    """Raise ConfigurationError where the API's port is taken."""
    import socket

    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError:
            raise ConfigurationError(
                f"port {settings.port} is taken", fix="stop what listens there, or set SHOPTALK_PORT to another"
            ) from None


def allow_open_files() -> None:
    """Raise the limit on open files, and so on connections, to OPEN_FILES or as far as is allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
