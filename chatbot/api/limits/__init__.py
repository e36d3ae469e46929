"""Rate limits, concurrency limits and penalties by API key, visitor and client address."""
