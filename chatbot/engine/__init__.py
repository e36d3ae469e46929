"""Generates replies. `protocol` says what any engine can do; `embedded` and `null` do it."""
