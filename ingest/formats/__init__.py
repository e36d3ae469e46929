"""Readers of the formats of conversations: conversation files, CSV, OpenAI's logs, data sets."""
