"""Removes personal data: `build_scrubber` is all that other modules need.

Importing this is cheap; Presidio and spaCy load when a scrubber is built (a few seconds).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shoptalk.settings import Settings

if TYPE_CHECKING:
    from ingest.scrub.scrubber import PresidioScrubber

__all__ = ["build_scrubber"]


def build_scrubber(settings: Settings) -> PresidioScrubber:
    """A scrubber with the shop's own order-number patterns. Takes seconds; build one per process."""
    from ingest.scrub.analyzer import Analyzer
    from ingest.scrub.scrubber import PresidioScrubber

    return PresidioScrubber(Analyzer(settings.order_id_patterns))
