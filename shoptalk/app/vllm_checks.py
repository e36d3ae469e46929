"""Doctor's checks of vLLM, where it is the engine: the server, and the folder that it shares with the API."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from shoptalk.app.engines import adapter_folder, examine_vllm
from shoptalk.errors import BaseModelMissing, ConfigurationError, ShoptalkError
from shoptalk.processes.doctor import Finding, try_writing
from shoptalk.settings import Settings

HOW: Final = "see docs/vllm.md"


def vllm_checks(settings: Settings) -> Iterator[Finding]:
    """Yield the findings where vLLM is the engine, else nothing."""
    if settings.engine == "vllm":
        yield _server(settings)
        yield from _adapters(settings)


def _server(settings: Settings) -> Finding:
    try:
        return Finding("vLLM", True, examine_vllm(settings, wait_s=0.0))
    except BaseModelMissing as error:
        return Finding("vLLM", False, "not examined, because the base model is missing", error.fix or "")
    except ConfigurationError as error:
        return Finding("vLLM", False, error.problem, error.fix or HOW)
    except ShoptalkError as error:
        return Finding("vLLM", False, error.problem, "see vLLM's own log, and docs/vllm.md")


def _adapters(settings: Settings) -> Iterator[Finding]:
    """Yield a finding where the folder through which vLLM gets its files will not do."""
    name, folder = "vLLM's adapters", settings.vllm_adapters_path
    shared = settings.vllm_adapters_group is not None or int(settings.vllm_adapters_mode, 8) & 0o007
    if shared and folder.absolute().is_relative_to(settings.home.absolute()):
        found = f"{folder} is in {settings.home}, which no other user may enter"
        yield Finding(name, False, found, "set SHOPTALK_VLLM_ADAPTERS to a folder outside of SHOPTALK_HOME")
        return
    try:
        adapter_folder(settings).examine()
        try_writing(folder)
    except ConfigurationError as error:
        yield Finding(name, False, error.problem, error.fix or HOW)
    except OSError as error:
        fix = f"make {folder} writable for this user, or set SHOPTALK_VLLM_ADAPTERS to a folder that is"
        yield Finding(name, False, f"{folder}: {error.strerror}", fix)
