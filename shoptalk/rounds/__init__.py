"""Rounds of learning: their steps, and the durable workflow that runs them."""
