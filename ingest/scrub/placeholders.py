"""Placeholders of one request: numbering, filling back, and filling a stream. `shoptalk.placeholders` has their shape.

Does not know how values are found. A vault lives as long as one request and is never written anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from shoptalk.errors import ScrubbingFailed
from shoptalk.placeholders import ESCAPED, PLACEHOLDER

_EITHER: Final = re.compile(f"{PLACEHOLDER.pattern}|{ESCAPED.pattern}")
_BEGINNING: Final = re.compile(r"[<‹](?:[A-Z][A-Z_]{0,31}[0-9]{0,4})?\Z")
LONGEST: Final = 1 + 32 + 4  # characters that a filler may hold back
MOST: Final = 9999

PLAIN: Final = {
    "PERSON": "your name",
    "EMAIL_ADDRESS": "your e-mail address",
    "PHONE_NUMBER": "your phone number",
    "CREDIT_CARD": "your card number",
    "IBAN_CODE": "your account number",
    "IP_ADDRESS": "your IP address",
    "URL": "your link",
    "ADDRESS": "your address",
    "ORDER_ID": "your order number",
    "TRACKING_NUMBER": "your tracking number",
    "ACCOUNT_NUMBER": "your account number",
    "ID_NUMBER": "your ID number",
    "USERNAME": "your user name",
    "NUMBER": "your number",
}


def escape(text: str) -> str:
    """Turn literal placeholders into `‹PERSON_1›`, so that they stand for nobody's value."""
    return PLACEHOLDER.sub(r"‹\1_\2›", text)


def placeholder_spans(text: str, *, escaped_only: bool = False) -> list[tuple[int, int]]:
    """Return the start and end of each placeholder (unless `escaped_only`) and each escaped one, in order."""
    pattern = ESCAPED if escaped_only else _EITHER
    return [match.span() for match in pattern.finditer(text)]


def kind_of(placeholder: str) -> str:
    """Return the type in a placeholder, escaped or not."""
    return placeholder[1:-1].rpartition("_")[0]


def plain_words(kind: str) -> str:
    """Return what to show for a placeholder that stands for nothing known, such as 'your order number'."""
    return PLAIN.get(kind) or "your " + kind.replace("_", " ").strip().lower()


def identity(value: str) -> str:
    """Return a key that is equal for values that differ in case, spaces and punctuation only."""
    return "".join(c for c in value.casefold() if c.isalnum() or c == "@")


class Numbering:
    """Hands out placeholders, numbered per type by first appearance; one value keeps one placeholder."""

    def __init__(self, trusted: Iterable[str] = ()) -> None:
        """Start numbers after the highest in the `trusted` texts, which were scrubbed before."""
        self._highest: dict[str, int] = {}
        self._known: dict[str, str] = {}
        self.values: dict[str, str] = {}
        for text in trusted:
            for kind, number in PLACEHOLDER.findall(text):
                self._highest[kind] = max(self._highest.get(kind, 0), int(number))

    def placeholder(self, kind: str, value: str) -> str:
        """Return the placeholder of a value, new or known. Raises ScrubbingFailed after 9999 of a type."""
        key = identity(value)
        if key not in self._known:
            number = self._highest.get(kind, 0) + 1
            if number > MOST:
                raise ScrubbingFailed("too many values in one conversation")
            self._highest[kind] = number
            self._known[key] = f"<{kind}_{number}>"
            self.values[self._known[key]] = value
        return self._known[key]


class Vault:
    """The values that the placeholders of one request stand for. Satisfies `shoptalk.ports.PlaceholderVault`."""

    def __init__(self, values: dict[str, str], literals: frozenset[str] = frozenset()) -> None:
        """`literals` are the escaped placeholders that somebody typed; they are shown as typed."""
        self.values = values
        self.literals = literals

    def fill(self, text: str) -> str:
        """Put values back; a placeholder that the model invented becomes its plain type."""
        return _EITHER.sub(self._shown, text)

    def settle(self, text: str) -> str:
        """Return the text for the record: known placeholders stay, invented ones become their plain type."""
        return PLACEHOLDER.sub(lambda m: m.group() if m.group() in self.values else plain_words(m.group(1)), text)

    def joined(self, other: Vault) -> Vault:
        """Return a vault with the values of both."""
        return Vault({**self.values, **other.values}, self.literals | other.literals)

    def filler(self) -> StreamFiller:
        """Return a filler for one streamed reply."""
        return StreamFiller(self)

    def __repr__(self) -> str:
        return f"Vault({len(self.values)} values)"

    def _shown(self, match: re.Match[str]) -> str:
        whole = match.group()
        if whole.startswith("‹"):
            return f"<{whole[1:-1]}>" if whole in self.literals else whole
        value = self.values.get(whole)
        return plain_words(match.group(1)) if value is None else value


class StreamFiller:
    """Fills text that arrives in pieces; the pieces together equal `Vault.fill` of the whole."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._held = ""

    def feed(self, piece: str) -> str:
        """Return what can be shown now; a tail that may be the start of a placeholder waits."""
        text = self._held + piece
        tail = _BEGINNING.search(text, max(0, len(text) - LONGEST))
        cut = tail.start() if tail else len(text)
        self._held = text[cut:]
        return self._vault.fill(text[:cut])

    def flush(self) -> str:
        """Return the rest; a placeholder cut off at the end is shown as it came."""
        text, self._held = self._held, ""
        return self._vault.fill(text)
