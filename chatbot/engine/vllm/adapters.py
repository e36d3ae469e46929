"""The folder this process shares with vLLM: the files of the adapters it serves, each under a name of its own.

The name holds the version, and a hash of the files and of the folder: two contents never share a name (vLLM's prefix
cache is keyed by it), nor do two shoptalks. Adapters are written to a temporary folder, synced, then renamed. Only
names of this form are ever deleted, and only in a folder with our marker file. Knows no server.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
from pathlib import Path
from typing import IO

from shoptalk.clock import MACHINE
from shoptalk.domain import ADAPTER, AdapterRef
from shoptalk.errors import AdapterRefused, ConfigurationError
from shoptalk.folders import remove_folder
from shoptalk.models.adapterfile import AdapterFiles, verify

LOCK = ".lock"
MARKER = ".shoptalk-adapters"
MARKER_TEXT = "shoptalk keeps the adapters that vLLM reads in this folder, and deletes those it no longer serves.\n"
ASIDE = ".aside-"
OURS = re.compile(rf"({re.escape(ASIDE)})?{ADAPTER.pattern}-[0-9a-f]{{16}}", re.ASCII)
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
LOCK_WAIT_S = 10.0


class AdapterFolder:
    """The shared folder, for one process at a time: while it is open, its adapters are this process's alone."""

    def __init__(self, path: Path, mode: int = 0o750, group: str | None = None) -> None:
        """Set the access rights of what will be written.

        `mode` is that of folders; files get the same without the right to execute. `group` is a name or number.
        """
        self.path = path.absolute()
        self._mode, self._group = mode, group
        self._lock: IO[bytes] | None = None

    def examine(self) -> None:
        """Raise ConfigurationError where the folder holds files of others. One that does not exist yet is fine.

        A folder without a marker is ours where it is empty, or holds only what versions before the marker wrote.
        """
        try:
            found = set(os.listdir(self.path))
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._unusable(error) from error
        foreign = sorted(name for name in found - {LOCK} if not OURS.fullmatch(name))
        if MARKER not in found and foreign:
            raise ConfigurationError(
                f"SHOPTALK_VLLM_ADAPTERS: {self.path} is in use by something else (it holds '{foreign[0][:80]}', and "
                f"no {MARKER})",
                fix=f"set it to a new or empty folder, such as {self.path / 'shoptalk'}",
            )

    def open(self) -> None:
        """Lock the folder. Raises ConfigurationError where another process has it, or it is not ours."""
        self.examine()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = (self.path / LOCK).open("ab")
        except OSError as error:
            raise self._unusable(error) from error
        self._await_lock(lock)
        try:
            if not (self.path / MARKER).exists():
                (self.path / MARKER).write_text(MARKER_TEXT)
            if self.path.stat().st_uid == os.geteuid():
                self._set_access(self.path)
        except ConfigurationError:
            self.close()
            raise
        except OSError as error:
            self.close()
            raise self._unusable(error) from error

    def close(self) -> None:
        """Unlock the folder; fine where it is not open."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def name(self, adapter: AdapterRef, files: AdapterFiles) -> str:
        """Return the name of an adapter with these files, such as `shop@v3-ab12cd34ef56ab12`."""
        digest = hashlib.sha256()
        for part in (os.fsencode(self.path), files.config, files.weights):
            digest.update(len(part).to_bytes(8, "little") + part)
        return f"{adapter}-{digest.hexdigest()[:16]}"

    def path_of(self, name: str) -> str:
        return str(self.path / name)

    def write(self, name: str, files: AdapterFiles) -> None:
        """Write an adapter, whole or not at all. Raises OSError."""
        aside, final = self.path / f"{ASIDE}{name}", self.path / name
        remove_folder(aside)
        aside.mkdir()
        for part, data in ((CONFIG, files.config), (WEIGHTS, files.weights)):
            with (aside / part).open("wb") as out:
                out.write(data)
                out.flush()
                os.fsync(out.fileno())
            self._set_access(aside / part)
        self._set_access(aside)
        _sync(aside)
        remove_folder(final)
        aside.rename(final)
        _sync(self.path)

    def keep_only(self, names: frozenset[str]) -> None:
        """Remove all other adapters, half-written ones included, and nothing with a name of another form."""
        if not (self.path / MARKER).exists():  # the folder was replaced by another one meanwhile
            return
        for entry in self.path.iterdir():
            if OURS.fullmatch(entry.name) and entry.name not in names:
                remove_folder(entry)

    def _await_lock(self, lock: IO[bytes]) -> None:
        """Lock the folder, after a process that is just ending. Raises ConfigurationError where that takes too long."""
        deadline = MACHINE.monotonic() + LOCK_WAIT_S
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if MACHINE.monotonic() > deadline:
                    lock.close()
                    raise ConfigurationError(
                        f"another shoptalk uses {self.path}",
                        fix="stop it, or set SHOPTALK_VLLM_ADAPTERS to another folder",
                    ) from None
                MACHINE.sleep(0.1)
            else:
                self._lock = lock
                return

    def _unusable(self, error: OSError) -> ConfigurationError:
        return ConfigurationError(f"SHOPTALK_VLLM_ADAPTERS: {self.path}: {error.strerror}")

    def _set_access(self, path: Path) -> None:
        """Let the server's user read it, whatever this process's umask. Raises ConfigurationError for a wrong group."""
        if self._group is not None:
            try:
                shutil.chown(path, group=int(self._group) if self._group.isdecimal() else self._group)
            except (LookupError, PermissionError):
                raise ConfigurationError(
                    f"SHOPTALK_VLLM_ADAPTERS_GROUP: there is no group '{self._group}' that this user is in"
                ) from None
        path.chmod(self._mode if path.is_dir() else self._mode & 0o666)


class AdapterCheck:
    """Check of adapters against the base model, so that vLLM never gets one that does not fit."""

    def __init__(self, weights: Path, max_rank: int) -> None:
        """Read the header of `weights`, the base model's safetensors file."""
        with weights.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        self.shapes = {name: tuple(entry["shape"]) for name, entry in header.items() if name != "__metadata__"}
        self._max_rank = max_rank

    def check(self, files: AdapterFiles) -> None:
        """Raise AdapterRefused where an adapter does not fit, or has values that are not finite."""
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


def zero_adapter(check: AdapterCheck) -> AdapterFiles:
    """Return the smallest adapter of zeros: with it a reply is the base model's."""
    import torch
    from safetensors.torch import save

    name, (rows, columns) = next(item for item in sorted(check.shapes.items()) if item[0].endswith(".q_proj.weight"))
    module = f"base_model.model.{name.removesuffix('.weight')}"
    tensors = {f"{module}.lora_A.weight": torch.zeros(1, columns), f"{module}.lora_B.weight": torch.zeros(rows, 1)}
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 1, "lora_alpha": 1, "target_modules": ["q_proj"]}
    return AdapterFiles(json.dumps(config).encode(), save(tensors, metadata={"format": "pt"}))


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
