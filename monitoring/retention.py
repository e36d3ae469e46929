"""Removes the pages of old drift reports. Their metrics stay."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from shoptalk.models.artifacts import Artifacts
from shoptalk.store import Store
from shoptalk.store.monitoring import reports

MOST: Final = 100


class ReportRetention:
    """A report's page is several megabytes, and quotes customers."""

    name: Final = "pages of old reports"

    def __init__(self, store: Store, artifacts: Artifacts, days: float) -> None:
        self._store, self._artifacts, self._kept = store, artifacts, timedelta(days=days)

    def expired(self) -> int:
        """Return how many pages would be removed, at most 100."""
        with self._store.read() as conn:
            return len(reports.before(conn, self._store.now() - self._kept, MOST))

    def remove(self) -> int:
        """Remove some; return how many."""
        with self._store.read() as conn:
            old = reports.before(conn, self._store.now() - self._kept, MOST)
        for report in old:
            with self._store.read() as conn:
                shared = reports.shown_by_another(conn, report)
            if not shared:  # before the row says so: after a kill in between it is deleted again
                self._artifacts.delete(report.artifact_sha256)
            with self._store.write() as conn:
                reports.erase_page(conn, report.id)
        return len(old)
