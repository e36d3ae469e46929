"""Engines built from Settings: the one that serves, vLLM's client, and the one that evaluates in the background."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from shoptalk.app.parts import Parts
from shoptalk.domain import AdapterRef
from shoptalk.settings import Settings

if TYPE_CHECKING:
    from chatbot.engine.embedded import EmbeddedEngine
    from chatbot.engine.offline import OfflineEngine
    from chatbot.engine.protocol import Engine
    from chatbot.engine.vllm.adapters import AdapterFolder
    from chatbot.engine.vllm.client import VllmClient
    from chatbot.engine.vllm.engine import VllmEngine


def embedded_engine(settings: Settings, *, background: bool = False) -> EmbeddedEngine:
    """Build the engine that computes on this machine; raise BaseModelMissing. `background` is for evaluations."""
    from chatbot.engine.embedded import EmbeddedEngine
    from chatbot.engine.limits import EngineLimits
    from shoptalk.models.basemodel import choose_dtype, find_base_model

    limits = EngineLimits(
        settings.max_batch,
        settings.max_context,
        4096 if background else settings.max_queue,
        settings.adapter_slots,
        settings.max_rank,
        settings.threads,
        background,
        settings.prefill_chunk,
        settings.prefix_cache_mb * 2**20,
        settings.visitor_share,
        settings.visitor_wait_s,
        settings.kernels_path,
    )
    base = find_base_model(settings.models_path, settings.base_model)
    return EmbeddedEngine(base, choose_dtype(settings.dtype), limits)


def build_engine(settings: Settings) -> Engine:
    """Build the engine that the settings name, not yet started."""
    if settings.engine == "null":
        from chatbot.engine.null import NullEngine

        return NullEngine(settings.max_context, settings.adapter_slots)
    if settings.engine == "vllm":
        return vllm_engine(settings)
    return embedded_engine(settings)


def vllm_engine(settings: Settings) -> VllmEngine:
    """Build the engine over a vLLM server, which it examines when it starts."""
    from chatbot.engine.vllm.engine import VllmEngine, VllmLimits
    from shoptalk.models.basemodel import ChatTokenizer, find_base_model, load_tokenizer

    limits = VllmLimits(
        settings.max_batch,
        settings.max_context,
        settings.max_queue,
        settings.adapter_slots,
        settings.max_rank,
        settings.vllm_wait_s,
        settings.visitor_share,
        settings.visitor_wait_s,
    )
    base = find_base_model(settings.models_path, settings.base_model)
    tokenizer, folder = ChatTokenizer(load_tokenizer(base)), adapter_folder(settings)
    return VllmEngine(base, tokenizer, vllm_client(settings), folder, limits)


def adapter_folder(settings: Settings) -> AdapterFolder:
    """Return the folder of the adapters that vLLM reads, not yet opened."""
    from chatbot.engine.vllm.adapters import AdapterFolder

    mode = int(settings.vllm_adapters_mode, 8)
    return AdapterFolder(settings.vllm_adapters_path, mode, settings.vllm_adapters_group)


def vllm_client(settings: Settings) -> VllmClient:
    from chatbot.engine.vllm.client import VllmClient

    key = settings.vllm_api_key.get_secret_value() if settings.vllm_api_key else None
    return VllmClient(settings.vllm_url, key, settings.request_timeout_s)


def examine_vllm(settings: Settings, wait_s: float) -> str:
    """Describe the vLLM server in words.

    Raises ShoptalkError with the fix where it does not answer within `wait_s` or is not fit for use.
    """
    from chatbot.engine.vllm.server import await_server
    from shoptalk.models.basemodel import find_base_model

    base = find_base_model(settings.models_path, settings.base_model)

    async def ask() -> str:
        async with vllm_client(settings) as client:
            found = await await_server(client, base, settings.max_context, wait_s)
        return f"{found.version} at {client.url} serves {found.model}"

    return asyncio.run(ask())


def offline_engine(parts: Parts) -> OfflineEngine:
    """Build the serving engine at the lowest priority, for evaluation."""
    from chatbot.engine.offline import OfflineEngine

    engine = embedded_engine(parts.settings, background=True)
    resolve: Callable[[AdapterRef], Any] = lambda ref: parts.registry.resolve(ref, base_sha256=engine.base_sha256)  # noqa: E731
    return OfflineEngine(engine, resolve, max_tokens=64)
