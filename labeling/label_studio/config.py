"""The labelling page's configuration, and the names of its controls' values.

Knows `label_config.xml` and the values of our labels, but neither tasks nor servers.
"""

from __future__ import annotations

from importlib import resources
from typing import Final

from shoptalk.domain import LabelVerdict

VERDICTS: Final[tuple[LabelVerdict, ...]] = ("good", "fixable", "bad")
"""From best to worst."""
INTENTS: Final = ("order_status", "return_refund", "product_question", "payment", "shipping", "complaint", "other")
FLAGS: Final = ("pii_leak", "spam", "wrong_fact", "needs_human")
NEEDS_CORRECTION: Final = frozenset({"pii_leak", "spam", "wrong_fact"})
"""Flags that make the bot's own reply unfit to learn from."""
NEEDS_HUMAN: Final = "needs_human"


def label_config() -> str:
    """Return the labelling page as Label Studio's XML."""
    return resources.files("labeling.label_studio").joinpath("label_config.xml").read_text(encoding="utf-8")
