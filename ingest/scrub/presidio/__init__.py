"""Loads Presidio and spaCy, and uses them."""
