"""Rows that `chatbot` writes: conversations, inferences, API keys, rate limits, releases."""
