"""A real vLLM server for tests and benchmarks, from the environment that scripts/vllm.sh makes. Knows no engine.

Where vLLM is missing, tests skip even under REQUIRE_ALL: not everybody should need its 3.5 GB.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import httpx
import pytest

from shoptalk.processes.sockets import free_port

ROOT = Path(__file__).parents[1]
START_S = 400.0
STOP_S = 30.0


def find_vllm() -> Path | None:
    """Return the program, or None where it is not set up."""
    program = Path(os.environ.get("SHOPTALK_VLLM_VENV", ROOT / ".venv-vllm")) / "bin" / "vllm"
    return program if program.exists() else None


def needed_vllm() -> Path:
    """Return the program. Skips the test where it is not set up."""
    program = find_vllm()
    if program is None:
        pytest.skip("vLLM is not installed here; run 'make vllm' (3.5 GB)")
    return program


class VllmServer:
    """A server that answers on 127.0.0.1 while the context lasts.

    `model` is a folder and `name` the name it is served under. The base model takes one of the `slots` too.
    """

    def __init__(
        self,
        program: Path,
        model: Path,
        name: str,
        *,
        port: int = 0,
        batch: int = 8,
        context: int = 2048,
        slots: int = 5,
        rank: int = 16,
        key: str | None = None,
        eager: bool = True,
        dtype: str = "bfloat16",
        arguments: tuple[str, ...] = (),
        log: Path | None = None,
    ) -> None:
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.command = [
            str(program), "serve", str(model.absolute()), "--served-model-name", name, "--host", "127.0.0.1",
            "--port", str(self.port), "--dtype", dtype, "--max-model-len", str(context),
            "--max-num-seqs", str(batch), "--enable-lora", "--max-loras", str(slots), "--max-lora-rank", str(rank),
            "--enable-prompt-tokens-details", *(["--enforce-eager"] if eager else []), *arguments,
        ]  # fmt: skip
        self.environment = {
            "OMP_NUM_THREADS": str(os.cpu_count() or 1),
            **os.environ,
            "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True",
            "VLLM_CPU_KVCACHE_SPACE": "1",
            "VLLM_NO_USAGE_STATS": "1",
            "HF_HUB_OFFLINE": "1",
            **({"VLLM_API_KEY": key} if key else {}),
        }
        self._log: IO[bytes] = log.open("ab") if log else tempfile.TemporaryFile()  # noqa: SIM115 - as long as this
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Start the server and wait until it answers. Raises RuntimeError where it ends or takes too long."""
        assert self._process is None
        # a new session, so that all its processes can be ended together
        self._process = subprocess.Popen(
            self.command, env=self.environment, stdout=self._log, stderr=self._log, cwd="/tmp", start_new_session=True
        )
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise RuntimeError(f"vLLM ended with status {self._process.returncode}:\n{self.log()}")
            try:
                if httpx.get(f"{self.url}/health", timeout=2.0, trust_env=False).status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.2)
        raise RuntimeError(f"vLLM did not answer within {START_S:.0f} s:\n{self.log()}")

    def kill(self) -> None:
        """Kill all its processes at once, as a power cut would."""
        self._signal(signal.SIGKILL)

    def close(self) -> None:
        self._signal(signal.SIGTERM)
        self._log.close()

    def log(self) -> str:
        """Return the end of its output."""
        with Path(f"/proc/self/fd/{self._log.fileno()}").open("rb") as file:
            return file.read()[-4000:].decode(errors="replace")

    def _signal(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        for attempt in (number, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, attempt)
            try:
                process.wait(timeout=STOP_S)
            except subprocess.TimeoutExpired:
                continue
