"""Deletes the reports that may quote erased conversations, and their ids in looks for drift. Metrics stay."""

from __future__ import annotations

from typing import Any, Final

from shoptalk.models.artifacts import Artifacts
from shoptalk.ports import Erased
from shoptalk.store import Store
from shoptalk.store.monitoring import drift_checks, reports


class ReportEraser:
    """Deletes the pages of all reports made since the first of the erased data was admitted: each may quote it.

    A look for drift that ended with an erased conversation then ends with its moment.
    """

    name: Final = "monitoring"
    covers: Final = frozenset({"reports", "drift_checks", "artifacts/"})

    def __init__(self, store: Store, artifacts: Artifacts) -> None:
        self._store, self._artifacts = store, artifacts

    def erase(self, what: Erased) -> dict[str, Any]:
        """Delete the pages; return how many there were, and their hashes."""
        with self._store.write() as conn:
            drift_checks.forget(conn, what.conversations)
        if what.since is None:
            return {"reports": 0}
        with self._store.read() as conn:
            pages = reports.since(conn, what.since)
        for report in pages:
            self._artifacts.delete(report.artifact_sha256)
            with self._store.write() as conn:
                reports.erase_page(conn, report.id)
        return {"reports": len(pages), "files": [report.artifact_sha256 for report in pages]}
