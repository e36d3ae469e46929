"""Recognises what the shop's side asked for last: "your e-mail?". Works on words alone; knows neither answers nor Presidio."""

from __future__ import annotations

import re
from typing import Final

PATIENCE: Final = 3  # messages of the customer, for which a question stays open

_OWN: Final = r"(?:your|the|his|her|their|an?|my)"
IDENT: Final = r"(?:id|ids|no\.?|number|numbers|num|nr\.?|code|\#)"
# patterns of the words that ask for each kind of data
KINDS: Final[dict[str, str]] = {
    "PERSON": rf"\b(?:{_OWN}|full|first|last|sur|maiden|(?:account|card)\s?holder'?s?|customer'?s?|account|registered|complete|good)"
    r"[\s-]?names?\b(?!\sof\b)|^\W*(?:full\s)?name\W*$|\bname\s?(?:,|and\b|\?)|\bname (?:on|for|under) (?:the|this|that|your) \w+|\b(?:what|which|whose) name\b"
    r"|\bwho (?:am i|do i have the pleasure of|is this|are you)\b|\bwhom am i\b",
    "EMAIL_ADDRESS": r"\be[\s-]?mails?\b",
    "USERNAME": r"\b(?:user\s?-?name|user\s?id|login|log-?in\s(?:id|name)|handle|screen\s?name)\b",
    "ACCOUNT_NUMBER": rf"\b(?:account|acct|a/c|customer|client|member(?:ship)?|loyalty|reference|policy|booking|ride|flight)\s?-?{IDENT}(?![\w<‹])",
    "ORDER_ID": rf"\b(?:order|purchase|invoice|tracking|return|refund|rma|ticket|case|shipment|parcel|transaction|confirmation|reservation|pnr)\s?-?{IDENT}(?![\w<‹])"
    r"|\bwhich order\b",
    "PHONE_NUMBER": r"\b(?:phone|mobile|cell|telephone|contact|call\s?back)(?:\s?numbers?)?\b",
    "CREDIT_CARD": r"\b(?:card|last\s(?:4|four)(?:\sdigits)?)\b",
    "ADDRESS": r"\b(?:address|street|zip|zip\s?-?code|post(?:al)?\s?-?code|postcode|pin\s?code)(?:es)?\b(?<!mail address)"
    r"|\bwhere (?:should|shall|do|would|can|could|will) (?:we|i|you|it) (?:\w+ ){0,4}(?:sen[dt]|ship|shipped|deliver|delivered|live)\b",
    "ID_NUMBER": rf"\b(?:pin|password|passcode|passport|licen[cs]e|ssn|social security|security (?:code|answer)|"
    rf"(?:national|identity|government|photo)\s?-?{IDENT})\b",
    "DATE_OF_BIRTH": r"\b(?:date of birth|birth\s?da(?:te|y)|d\.?o\.?b\.?)(?!\w)",
}
_ASKS: Final = {kind: re.compile(pattern, re.IGNORECASE) for kind, pattern in KINDS.items()}
_CUE: Final = re.compile(
    r"(?i)\?|\b(?:please|kindly|plz|pls|provide|share|confirm|verify|need|tell|give|enter|specify|send|type|what|what's|"
    r"may i|can i|could i|can you|could you|would you|will you|have your|get your|let me know|also your|and your|also the)\b"
    r"|^\W*(?:\w+\W+){0,3}(?:\w+\W*)?$"
)


def asked(text: str) -> frozenset[str]:
    """Return the kinds of personal data that a message, most likely an agent's, asks for."""
    if not _CUE.search(text):
        return frozenset()
    return frozenset(kind for kind, pattern in _ASKS.items() if pattern.search(text))


class OpenQuestions:
    """Follows a conversation and keeps the kinds of data that were asked for and not given yet."""

    def __init__(self) -> None:
        self._open: frozenset[str] = frozenset()
        self._left = 0
        self._ours_before = False

    def hear(self, text: str, *, ours: bool) -> frozenset[str]:
        """Take the next message; return the kinds of data that it may be the answer to."""
        if not ours:
            self._ours_before = False
            self._left -= 1
            return self._open if self._left >= 0 else frozenset()
        new = asked(text)
        if new or "?" in text:
            self._open = self._open | new if self._ours_before else new
            self._left = PATIENCE
        self._ours_before = True
        return frozenset()
