"""Escapes text of others before it is printed on a terminal.

Characters that would move the cursor, change colours or hide behind other text are shown as escapes.
"""

from __future__ import annotations

import re
from typing import Final

# C0, DEL and C1 control characters, line separators, and those that turn the direction of writing or are not seen
CONTROLS: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]"
)
UNSEEN: Final = re.compile("[\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]")


def printable(text: str) -> str:
    r"""Return the text as one line in which control characters are escapes, such as `\x1b` or `\u202e`."""
    return CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def printable_json(text: str) -> str:
    """Return JSON of the same meaning without unseen characters; JSON itself escapes the first 32 characters only."""
    return UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
