"""A real shoptalk for tests: API and worker as separate processes, in a temporary folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import pytest

from shoptalk.app.parts import Parts
from shoptalk.domain import Scope
from shoptalk.processes.sockets import free_port
from shoptalk.settings import Settings, load_settings

ROOT = Path(__file__).parents[2]
LABEL_STUDIO = ROOT / ".venv-label-studio"
REQUIRE_ALL = os.environ.get("REQUIRE_ALL") == "1"


def need(present: bool, reason: str) -> None:
    """Skip where something is missing; fail where nothing may skip."""
    if not present:
        (pytest.fail if REQUIRE_ALL else pytest.skip)(reason)


def models_folder() -> Path:
    """Return the folder of the base model. Skips the test where the model is missing."""
    folder = Path(os.environ.get("SHOPTALK_MODELS", ROOT / "data" / "models"))
    need((folder / "SmolLM2-135M-Instruct" / "base.json").exists(), "the base model is not here; run 'make model'")
    return folder


class Stack:
    """A running shoptalk. Its settings are both an object for the test and the environment of the processes."""

    def __init__(self, home: Path, **values: Any) -> None:
        values = {
            "home": home,
            "port": free_port(),
            "worker_port": 0,
            "engine": "null",
            "models": ROOT / "data" / "models",
            **values,
        }
        self.settings: Settings = load_settings(**values)
        self.environment = {
            **os.environ,
            "OMP_WAIT_POLICY": "PASSIVE",
            **{f"SHOPTALK_{k.upper()}": str(v) for k, v in values.items()},
        }
        self.parts = Parts(self.settings)
        self.url = self.settings.base_url
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.logs = home / "logs"
        self.logs.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in list(self.processes):
            self.stop(name)
        self.parts.close()

    def start(self, name: str) -> None:
        with (self.logs / f"{name}.log").open("ab") as out:
            command = [sys.executable, "-m", "shoptalk.cli", name]
            self.processes[name] = subprocess.Popen(command, env=self.environment, stdout=out, stderr=out, cwd=ROOT)
        if name == "serve":
            self.wait_ready()

    def stop(self, name: str) -> None:
        process = self.processes.pop(name)
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def kill(self, name: str) -> None:
        """Kill a process with SIGKILL, as a power cut would."""
        process = self.processes.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait()

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of shoptalk in this stack's environment."""
        command = [sys.executable, "-m", "shoptalk.cli", *arguments]
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, cwd=ROOT, timeout=600, check=False
        )

    def wait_ready(self) -> None:
        def ready() -> bool:
            if self.processes["serve"].poll() is not None:
                raise AssertionError(f"the API ended: {self.log('serve')[-2000:]}")
            try:
                return httpx.get(f"{self.url}/readyz", timeout=2, trust_env=False).status_code == 200
            except httpx.TransportError:
                return False

        until(ready, "the API to be ready", 120)

    def key(self, *scopes: Scope) -> str:
        return self.parts.new_key("test", scopes or [Scope.ADMIN])[1]

    def client(self, *scopes: Scope) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.key(*scopes)}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=120, trust_env=False)

    def log(self, name: str) -> str:
        path = self.logs / f"{name}.log"
        return path.read_text() if path.exists() else ""


def until(test: Any, what: str, timeout_s: float = 120.0) -> Any:
    """Poll until `test()` is true and return its value. Raises AssertionError after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if value := test():
            return value
        time.sleep(0.1)
    raise AssertionError(f"waited {timeout_s:.0f} s in vain for {what}")


def stack(home: Path, **values: Any) -> Iterator[Stack]:
    """Yield a stack, for fixtures."""
    with Stack(home, **values) as running:
        yield running
