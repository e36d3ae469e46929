"""Makes digits and letters that only look different the same, so that patterns can find them.

Does not know what personal data is. Text in any language comes out unchanged but for: canonical composition
(NFC), decimal digits of every script and full-width forms turned into ASCII, invisible characters removed where
they could hide something, control characters removed and lone surrogates replaced.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import Final

JOINERS: Final = {"\u200c", "\u200d"}  # meaningful inside emoji and some scripts, not beside ASCII
KEPT_CONTROLS: Final = {"\t", "\n", "\r"}


def normalise(text: str) -> str:
    """Idempotent; never fails."""
    if text.isascii() and text.isprintable():
        return text
    out: list[str] = []
    composed = unicodedata.normalize("NFC", text)
    for i, char in enumerate(composed):
        if " " <= char <= "~":
            out.append(char)
            continue
        previous = out[-1] if out else ""
        following = composed[i + 1] if i + 1 < len(composed) else ""
        if _hides(char, previous, following):
            continue
        out.append(_plain(char))
    return unicodedata.normalize("NFC", "".join(out))


def _hides(char: str, previous: str, following: str) -> bool:
    category = unicodedata.category(char)
    if category == "Cc":
        return char not in KEPT_CONTROLS
    if char in JOINERS:
        return not previous or previous.isascii() or not following or following.isascii()
    if category == "Cf":
        return True
    # marks on digits or punctuation, such as a combining underline or an emoji selector
    return category.startswith("M") and previous.isascii() and not previous.isalpha()


@lru_cache(maxsize=4096)
def _plain(char: str) -> str:
    category = unicodedata.category(char)
    if category == "Cs":
        return "\ufffd"
    if category == "Nd":
        return str(unicodedata.decimal(char))
    form = unicodedata.normalize("NFKC", char)
    if form.isascii() and (len(form) == 1 or form.isdigit()):
        return form
    return char
