"""Attacks that succeeded once, each held to fail."""
