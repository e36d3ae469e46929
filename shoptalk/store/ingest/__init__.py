"""Rows that `ingest` writes: the inbox, turns and their features, feedback, imports, quarantine."""
