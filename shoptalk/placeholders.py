"""The shape of typed placeholders such as `<ORDER_ID_1>`, which stand for personal data in every scrubbed text.

`ingest.scrub.placeholders` writes them and fills them back. Knows no values. All patterns take linear time.
"""

from __future__ import annotations

import re
from typing import Final

PLACEHOLDER: Final = re.compile(r"<([A-Z][A-Z_]{0,30})_([0-9]{1,4})>")
"""What scrubbing writes; the groups are the type and the number."""
ESCAPED: Final = re.compile(r"‹([A-Z][A-Z_]{0,30})_([0-9]{1,4})›")
"""What scrubbing makes of a placeholder that somebody typed: it stands for nobody's value."""
LOOKALIKE: Final = re.compile(r"[<‹]([A-Z][A-Z_]*)_\d+[>›]")
"""Both of them, and what a model may write that scrubbing never would, such as `<ORDER_ID_123456>`."""


def found_in(text: str) -> list[str]:
    """Return the placeholders in a text, in order: also those that scrubbing never writes, but no escaped ones."""
    return [match.group() for match in LOOKALIKE.finditer(text) if match.group()[0] == "<" and match.group()[-1] == ">"]


def without_numbers(text: str) -> str:
    """Return the text with only the type of each placeholder, so that texts about other values compare as equal."""
    return LOOKALIKE.sub(r"\1", text)


def without_placeholders(text: str) -> str:
    """Return the text with a space for each placeholder: what somebody said in their own words."""
    return LOOKALIKE.sub(" ", text)
