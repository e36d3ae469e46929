"""Deletes the reports that may quote erased conversations. Metrics, which quote nobody, stay."""

from __future__ import annotations

from typing import Any, Final

from shoptalk.models.artifacts import Artifacts
from shoptalk.ports import Erased
from shoptalk.store import Store
from shoptalk.store.monitoring import reports


class ReportEraser:
    """Deletes the pages of all reports made since the first of the erased data was admitted: each may quote it."""

    name: Final = "monitoring"
    covers: Final = frozenset({"reports", "artifacts/"})

    def __init__(self, store: Store, artifacts: Artifacts) -> None:
        self._store, self._artifacts = store, artifacts

    def erase(self, what: Erased) -> dict[str, Any]:
        """Delete the pages; return how many there were, and their hashes."""
        if what.since is None:
            return {"reports": 0}
        with self._store.read() as conn:
            pages = reports.since(conn, what.since)
        for report in pages:
            self._artifacts.delete(report.artifact_sha256)
            with self._store.write() as conn:
                reports.erase_page(conn, report.id)
        return {"reports": len(pages), "files": [report.artifact_sha256 for report in pages]}
