"""A folder this process shares with vLLM, with the files of the adapters it serves, each under a name of its own.

The name holds the version, and a hash of the files and of the folder: two contents never share a name (vLLM's prefix
cache is keyed by it), nor do two shoptalks. Written aside, synced, then renamed. Knows no server.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import time
from pathlib import Path
from typing import IO

from shoptalk.adapterfile import AdapterFiles, verify
from shoptalk.domain import AdapterRef
from shoptalk.errors import AdapterRefused, ConfigurationError

LOCK = ".lock"
ASIDE = ".aside-"
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
LOCK_WAIT_S = 10.0


class AdapterFolder:
    """One process at a time: what is in an open folder is this process's alone, on the server too."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._lock: IO[bytes] | None = None

    def open(self) -> None:
        """Take the folder; raises ConfigurationError where another process has it."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = (self.path / LOCK).open("ab")
        except OSError as error:
            raise ConfigurationError(f"SHOPTALK_VLLM_ADAPTERS: {self.path}: {error.strerror}") from error
        deadline = time.monotonic() + LOCK_WAIT_S  # one that is just ending
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    lock.close()
                    raise ConfigurationError(
                        f"another shoptalk uses {self.path}; stop it, or set SHOPTALK_VLLM_ADAPTERS to another folder"
                    ) from None
                time.sleep(0.1)
            else:
                self._lock = lock
                return

    def close(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def name(self, adapter: AdapterRef, files: AdapterFiles) -> str:
        """Such as `shop@v3-ab12cd34ef56ab12`."""
        digest = hashlib.sha256()
        for part in (os.fsencode(self.path), files.config, files.weights):
            digest.update(len(part).to_bytes(8, "little") + part)
        return f"{adapter}-{digest.hexdigest()[:16]}"

    def path_of(self, name: str) -> str:
        return str(self.path / name)

    def write(self, name: str, files: AdapterFiles) -> None:
        """Whole or not at all."""
        aside, final = self.path / f"{ASIDE}{name}", self.path / name
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
        for part, data in ((CONFIG, files.config), (WEIGHTS, files.weights)):
            with (aside / part).open("wb") as out:
                out.write(data)
                out.flush()
                os.fsync(out.fileno())
        _sync(aside)
        shutil.rmtree(final, ignore_errors=True)
        aside.rename(final)
        _sync(self.path)

    def keep_only(self, names: frozenset[str]) -> None:
        """Remove everything else, half-written files included."""
        for entry in self.path.iterdir():
            if entry.name != LOCK and entry.name not in names:
                shutil.rmtree(entry, ignore_errors=True)


class AdapterCheck:
    """What must be true of an adapter for this base model, so that vLLM never gets what does not fit."""

    def __init__(self, weights: Path, max_rank: int) -> None:
        """`weights` is the base model's safetensors file; only its header is read."""
        with weights.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        self.shapes = {name: tuple(entry["shape"]) for name, entry in header.items() if name != "__metadata__"}
        self._max_rank = max_rank

    def check(self, files: AdapterFiles) -> None:
        """Raises AdapterRefused."""
        import torch
        from safetensors import SafetensorError
        from safetensors.torch import load

        for name, (columns, rows) in verify(files, max_rank=self._max_rank).modules.items():
            if self.shapes.get(f"{name}.weight") != (rows, columns):
                raise AdapterRefused(f"{WEIGHTS}: {name} does not fit the base model")
        try:
            tensors = load(files.weights)
        except SafetensorError as error:
            raise AdapterRefused(f"{WEIGHTS}: {str(error)[:200]}") from None
        for name, tensor in tensors.items():
            if not torch.isfinite(tensor).all():
                raise AdapterRefused(f"{WEIGHTS}: '{name}' has values that are not finite")


def nothing(check: AdapterCheck) -> AdapterFiles:
    """An adapter of zeros, as small as can be: with it a reply is the base model's."""
    import torch
    from safetensors.torch import save

    name, (rows, columns) = next(item for item in sorted(check.shapes.items()) if item[0].endswith(".q_proj.weight"))
    place = f"base_model.model.{name.removesuffix('.weight')}"
    tensors = {f"{place}.lora_A.weight": torch.zeros(1, columns), f"{place}.lora_B.weight": torch.zeros(rows, 1)}
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 1, "lora_alpha": 1, "target_modules": ["q_proj"]}
    return AdapterFiles(json.dumps(config).encode(), save(tensors, metadata={"format": "pt"}))


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
