"""Reads and scrubs files for the command line. Needs no database."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shoptalk.settings import Settings

if TYPE_CHECKING:
    from ingest.scrubfile import ScrubResult


def read_source(source: str, format: str, columns: str | None, roles: str | None, split: str) -> Iterator[Any]:
    """Yield the conversations of a file or data set; raise InvalidInput."""
    from ingest.formats.sources import Source, pairs

    return Source(source, format, pairs(columns, "columns"), pairs(roles, "roles"), split).read()  # type: ignore[arg-type]


def scrub_file(
    settings: Settings, source: Path, target: Path, spans: bool, progress: Callable[[int], None]
) -> ScrubResult:
    """Scrub a file into another with the shop's own patterns; see `ingest.scrubfile`."""
    from ingest import scrubfile
    from ingest.scrub import build_scrubber

    with contextlib.closing(build_scrubber(settings, background=True)) as scrubber:
        return scrubfile.scrub_file(scrubber, source, target, spans=spans, progress=progress)
