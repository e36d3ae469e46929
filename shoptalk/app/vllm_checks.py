"""What doctor checks where vLLM is the engine."""

from __future__ import annotations

from collections.abc import Iterator

from shoptalk.app.engines import adapter_folder, examine_vllm
from shoptalk.errors import BaseModelMissing, ConfigurationError, ShoptalkError
from shoptalk.processes.doctor import Check, try_writing
from shoptalk.settings import Settings


def vllm_checks(settings: Settings) -> Iterator[Check]:
    """Where it is the engine."""
    if settings.engine != "vllm":
        return
    try:
        yield Check("vLLM", True, examine_vllm(settings, wait_s=0.0))
    except BaseModelMissing:
        yield Check("vLLM", False, "not asked, for want of the base model", "shoptalk setup")
    except ConfigurationError as error:
        found, _, mend = error.message.partition(": ")
        yield Check("vLLM", False, found, mend)
    except ShoptalkError as error:
        yield Check("vLLM", False, error.message, "see vLLM's own log, and docs/vllm.md")
    # its files go through a folder both have
    folder = settings.vllm_adapters_path
    shared = settings.vllm_adapters_group is not None or int(settings.vllm_adapters_mode, 8) & 0o007
    if shared and folder.absolute().is_relative_to(settings.home.absolute()):
        found = f"{folder} is in {settings.home}, which no other user may enter"
        yield Check("vLLM's adapters", False, found, "set SHOPTALK_VLLM_ADAPTERS to a folder outside of SHOPTALK_HOME")
        return
    try:
        adapter_folder(settings).examine()
        try_writing(folder)
    except ConfigurationError as error:
        found, _, mend = error.message.rpartition("; ")
        yield Check("vLLM's adapters", False, found, mend)
    except OSError as error:
        mend = f"make {folder} writable for this user, or set SHOPTALK_VLLM_ADAPTERS to a folder that is"
        yield Check("vLLM's adapters", False, f"{folder}: {error.strerror}", mend)
