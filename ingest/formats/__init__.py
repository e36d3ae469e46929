"""Readers of what conversations come in: conversation files, CSV, OpenAI's logs, data sets."""
