"""Services that tests start here share the loaded scrubber."""

from tests.scrubbing import scrubber_stays_loaded

__all__ = ["scrubber_stays_loaded"]
