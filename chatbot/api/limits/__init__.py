"""Who may ask how often: buckets, concurrency and penalties by API key, visitor and client address."""
