"""Removes personal data; other modules need only `build_scrubber`.

Importing this is cheap; Presidio and spaCy load in a process of their own when a scrubber is built (a few seconds).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shoptalk.settings import Settings

if TYPE_CHECKING:
    from ingest.scrub.workers.pool import ScrubberPool

__all__ = ["build_scrubber"]


def build_scrubber(settings: Settings, *, background: bool = False) -> ScrubberPool:
    """Return a scrubber with the shop's own order-number patterns. Build one per process; close it when done.

    It loads while its caller goes on. `background` work may wait long for a processor that customers keep busy.
    Raises ConfigurationError for a pattern that is wrong.
    """
    from ingest.scrub.presidio.engine import checked
    from ingest.scrub.workers.deadline import IMPATIENT, PATIENT
    from ingest.scrub.workers.pool import ScrubberPool

    patience = PATIENT if background else IMPATIENT
    return ScrubberPool(checked(settings.order_id_patterns), settings.scrub_processes, patience)
