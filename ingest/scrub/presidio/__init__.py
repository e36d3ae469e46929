"""Presidio and spaCy: how they are loaded and asked."""
