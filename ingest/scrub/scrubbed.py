"""A conversation after scrubbing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ingest.scrub.placeholders import Vault
from ingest.scrub.spans import Span


@dataclass(frozen=True, slots=True)
class Scrubbed:
    """A scrubbed conversation, as `shoptalk.ports.ScrubbedConversation` describes it."""

    texts: tuple[str, ...]
    final: tuple[str, ...]
    counts: tuple[Mapping[str, int], ...]
    vault: Vault
    #: what `final` has placeholders for, as spans of the normalised texts
    found: tuple[tuple[Span, ...], ...] = ()
