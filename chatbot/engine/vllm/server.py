"""What a vLLM server must be before anything is asked of it, and waiting for one that is still starting."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import dataclass
from pathlib import Path

from chatbot.engine.vllm.client import Card, VllmClient
from shoptalk.clock import MACHINE
from shoptalk.errors import ConfigurationError, EngineUnavailable
from shoptalk.models.basemodel import MARK, BaseModel

OLDEST = (0, 32)  # older ones were never tried with this
HOW = "docs/vllm.md says how"
_VERSION = re.compile(r"(\d{1,6})\.(\d{1,6})")


@dataclass(frozen=True, slots=True)
class Server:
    """A server that will do. `model` is the base model's name there."""

    version: str
    model: str


async def examine(client: VllmClient, base: BaseModel, max_context: int) -> Server:
    """Raises ConfigurationError, with the mend, where the server will not do; EngineUnavailable where it is away."""
    version = await client.version()
    found = _VERSION.match(version)
    if found is None or (int(found[1]), int(found[2])) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise ConfigurationError(f"vLLM at {client.url} is version {version[:40]}: install {oldest} or newer")
    cards = [card for card in await client.cards() if card.parent is None]
    mine = next((card for card in cards if _is(card, base)), None)
    if mine is None:
        served = ", ".join(card.name[:80] for card in cards) or "nothing"
        raise ConfigurationError(
            f"vLLM at {client.url} serves {served}, not {base.name}: start it with {base.folder.absolute()}; {HOW}"
        )
    if mine.max_context < max_context:
        raise ConfigurationError(
            f"vLLM at {client.url} takes {mine.max_context} tokens: start it with --max-model-len {max_context}, "
            f"or set SHOPTALK_MAX_CONTEXT={mine.max_context}"
        )
    if not await client.loads_adapters():
        raise ConfigurationError(
            f"vLLM at {client.url} loads no adapters: start it with VLLM_ALLOW_RUNTIME_LORA_UPDATING=True; {HOW}"
        )
    return Server(version, mine.name)


async def await_server(client: VllmClient, base: BaseModel, max_context: int, wait_s: float) -> Server:
    """Examine it as soon as it answers; raises ConfigurationError where it does not in time."""
    deadline = MACHINE.monotonic() + wait_s
    while True:
        try:
            await client.check_health()
            return await examine(client, base, max_context)
        except EngineUnavailable as error:
            if MACHINE.monotonic() >= deadline:
                raise ConfigurationError(f"{error.message}: start it, or correct SHOPTALK_VLLM_URL; {HOW}") from error
        await asyncio.sleep(min(0.5, wait_s))


def _is(card: Card, base: BaseModel) -> bool:
    """By its name or folder; where the folder can be read from here, by the weights' hash too."""
    known = {base.name, base.folder.name}
    if not {card.name, card.root, Path(card.root).name} & known:
        return False
    mark = Path(card.root) / MARK
    return not mark.is_file() or json.loads(mark.read_text())["sha256"] == base.sha256
