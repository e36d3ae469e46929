"""A fixture for the folders whose tests start services: their conftest.py imports it, which switches it on there."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session", autouse=True)
def scrubber_stays_loaded(loaded_scrubber: None) -> None:
    """Share what scrubbing takes seconds to load: see `tests.conftest.loaded_scrubber`."""
