"""What is kept for a time only goes after that time, and nothing else does."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from shoptalk.app.parts import Parts
from shoptalk.clock import Clock
from shoptalk.settings import load_settings
from shoptalk.store import schema
from shoptalk.store.chat import answers, releases
from shoptalk.store.monitoring import reports
from shoptalk.store.training import runs
from tests.clocks import ManualTime

DAY = 86400


@pytest.fixture
def time() -> ManualTime:
    return ManualTime()


@pytest.fixture
def parts(tmp_path: Path, time: ManualTime) -> Iterator[Parts]:
    made = Parts(load_settings(home=tmp_path), clock=Clock(business=time))
    yield made
    made.close()


def removed(parts: Parts) -> list[tuple[int, int, int]]:
    """(what would go, what went, what is left to go) of each stage."""
    return [(item.expired(), item.remove(), item.expired()) for item in parts.retentions()]


def test_what_is_old_goes(parts: Parts, time: ManualTime, tmp_path: Path) -> None:
    page = parts.artifacts.put(b"<html>one</html>")
    with parts.store.write() as conn:
        answers.add(conn, "ans_1", "d" * 64, 200, b"encrypted", "con_1")
        reports.add(conn, reports.Report("rep_1", "Drift", page, {"rows": 3}, time.now()))
        releases.set_observed(conn, "api_gone", "shop", "shop@v1", None)
        releases.set_observed(conn, "api_here", "shop", "shop@v1", None)
        gone = schema.observed.c.process == "api_gone"
        long_ago = parts.store.clock.machine.now() - timedelta(days=2)
        conn.execute(sa.update(schema.observed).where(gone).values(updated_at=long_ago))
        for name, state in (("run_failed", "failed"), ("run_alive", "running")):
            runs.start(conn, name, "ds_1", {}, 1)
            if state == "failed":
                runs.finish(conn, name, problem="no memory")
    for name in ("run_failed", "run_alive", "run_new"):
        folder = tmp_path / "work" / name
        folder.mkdir(parents=True)
        if name != "run_new":
            old = folder.stat().st_mtime - 15 * DAY
            os.utime(folder, (old, old))
    assert removed(parts) == [(1, 1, 0), (0, 0, 0), (1, 1, 0)]
    assert sorted(path.name for path in (tmp_path / "work").iterdir()) == ["run_alive", "run_new"]
    time.advance(days=8)
    assert removed(parts)[:2] == [(1, 1, 0), (0, 0, 0)]
    time.advance(days=360)
    assert removed(parts)[:2] == [(0, 0, 0), (1, 1, 0)]
    assert not Path(parts.artifacts.path_of(page)).exists()
    with parts.store.read() as conn:
        kept = reports.find(conn, "rep_1")
        assert kept is not None
        assert (kept.summary, kept.erased_at is None) == ({"rows": 3}, False)
        assert [o.process for o in releases.all_observed(conn)] == ["api_here"]


def test_a_page_that_another_report_shows_stays(parts: Parts, time: ManualTime) -> None:
    page = parts.artifacts.put(b"<html>one</html>")
    with parts.store.write() as conn:
        reports.add(conn, reports.Report("rep_1", "Drift", page, {}, time.now()))
    time.advance(days=200)
    with parts.store.write() as conn:
        reports.add(conn, reports.Report("rep_2", "Drift", page, {}, time.now()))
    time.advance(days=200)
    assert removed(parts)[1] == (1, 1, 0)
    assert parts.artifacts.get(page) == b"<html>one</html>"
