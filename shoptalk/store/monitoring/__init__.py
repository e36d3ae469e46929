"""Rows that `monitoring` writes: drift checks, reports and triggers."""
