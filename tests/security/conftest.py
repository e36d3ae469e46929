"""Services that tests start here share what loads for seconds."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session", autouse=True)
def _scrubber_stays_loaded(loaded_scrubber: None) -> None:
    """See `tests.conftest.loaded_scrubber`."""
