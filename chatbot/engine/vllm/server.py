"""Check that a vLLM server is fit for the base model, and wait for one that is still starting. Knows no request."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import dataclass
from pathlib import Path

from chatbot.engine.vllm.client import ModelCard, VllmClient
from shoptalk.clock import MACHINE
from shoptalk.errors import ConfigurationError, EngineUnavailable
from shoptalk.models.basemodel import MARK, BaseModel

OLDEST = (0, 32)  # older versions were never tested with this
HOW = "see docs/vllm.md"
_VERSION = re.compile(r"(\d{1,6})\.(\d{1,6})")


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """A server that is fit. `model` is the base model's name there."""

    version: str
    model: str


async def examine(client: VllmClient, base: BaseModel, max_context: int) -> ServerInfo:
    """Check a server. Raises ConfigurationError where it is unfit; EngineUnavailable where it is away."""
    version = await client.version()
    found = _VERSION.match(version)
    if found is None or (int(found[1]), int(found[2])) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise ConfigurationError(f"vLLM at {client.url} is version {version[:40]}", fix=f"install {oldest} or newer")
    cards = [card for card in await client.cards() if card.parent is None]
    mine = next((card for card in cards if _serves(card, base)), None)
    if mine is None:
        served = ", ".join(card.name[:80] for card in cards) or "nothing"
        raise ConfigurationError(
            f"vLLM at {client.url} serves {served}, not {base.name}",
            fix=f"start it with {base.folder.absolute()}; {HOW}",
        )
    if mine.max_context < max_context:
        raise ConfigurationError(
            f"vLLM at {client.url} takes {mine.max_context} tokens",
            fix=f"start it with --max-model-len {max_context}, or set SHOPTALK_MAX_CONTEXT={mine.max_context}",
        )
    if not await client.loads_adapters():
        raise ConfigurationError(
            f"vLLM at {client.url} loads no adapters",
            fix=f"start it with VLLM_ALLOW_RUNTIME_LORA_UPDATING=True; {HOW}",
        )
    return ServerInfo(version, mine.name)


async def await_server(client: VllmClient, base: BaseModel, max_context: int, wait_s: float) -> ServerInfo:
    """Check a server as soon as it answers. Raises ConfigurationError where that is not within `wait_s` seconds."""
    deadline = MACHINE.monotonic() + wait_s
    while True:
        try:
            await client.check_health()
            return await examine(client, base, max_context)
        except EngineUnavailable as error:
            if MACHINE.monotonic() >= deadline:
                raise ConfigurationError(error.problem, fix=f"start it, or correct SHOPTALK_VLLM_URL; {HOW}") from error
        await asyncio.sleep(min(0.5, wait_s))


def _serves(card: ModelCard, base: BaseModel) -> bool:
    """Compare by name or folder; where the folder can be read from here, by the weights' hash too."""
    known = {base.name, base.folder.name}
    if not {card.name, card.root, Path(card.root).name} & known:
        return False
    mark = Path(card.root) / MARK
    return not mark.is_file() or json.loads(mark.read_text())["sha256"] == base.sha256
