"""Imports of finished conversations, and the batches they make."""
