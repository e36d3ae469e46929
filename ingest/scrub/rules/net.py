"""The safety net: plain patterns for e-mail addresses, cards, phones and any run of five or more digits.

It runs over what the recognizers left, and again over the finished text. Dates, years and prices are not numbers of
this kind (`harmless`). Every pattern takes time linear in the text. Knows no Presidio and no context.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from ingest.scrub.spans import Span

_LOCAL: Final = r"[\w.+%'&=~-]{1,64}"
_LABELS: Final = r"[^\W\d_][\w-]{0,62}(?:\.[\w-]{1,63})"
EMAIL: Final = re.compile(rf"{_LOCAL}@{_LABELS}{{0,8}}|{_LOCAL}\s?@\s?{_LABELS}{{1,8}}|{_LOCAL}@\d[\w-]*\.[\w.-]+")
_AT: Final = r"\s{0,3}[\[({]\s?(?:at|@)\s?[\])}]\s{0,3}"
_DOT: Final = r"(?:\s{0,3}[\[({]\s?(?:dot|\.)\s?[\])}]\s{0,3}|\s{1,3}dot\s{1,3}|\.)"
_SPELLED_DOT: Final = r"(?:\s{0,3}[\[({]\s?dot\s?[\])}]\s{0,3}|\s{1,3}dot\s{1,3})"
_NAME: Final = rf"(?:[\w+%'-]{{1,40}}{_DOT}){{0,3}}[\w+%'-]{{1,40}}"
SPELLED_EMAIL: Final = re.compile(
    rf"\b{_NAME}{_AT}[\w-]{{1,63}}(?:{_DOT}[\w-]{{1,63}}){{0,4}}"
    rf"|\b{_NAME}\s{{1,3}}at\s{{1,3}}(?:[\w-]{{1,63}}{_SPELLED_DOT}){{1,3}}[\w-]{{2,24}}"
    rf"|\b{_NAME}\s{{1,3}}at\s{{1,3}}(?:g(?:oogle)?mail|yahoo|ymail|hotmail|outlook|live|icloud|aol|proton(?:mail)?"
    rf"|rediffmail|gmx|zoho)\.[\w.]{{2,12}}",
    re.IGNORECASE,
)
_SAID_AT: Final = re.compile(r"[\s\[({](?i:at)[\s\])}]|[\[({]\s?@")  # in whatever SPELLED_EMAIL finds
IBAN: Final = re.compile(r"\b[A-Z]{2}\d{2}(?:[ -]?[A-Z0-9]{4}){2,7}(?:[ -]?[A-Z0-9]{1,3})?\b")
_SEPARATOR: Final = r"[ \t.()/+_–—‐‑‒―−-]"
DIGITS: Final = re.compile(rf"\+?\(?\d(?:{_SEPARATOR}{{0,3}}\d)*")
RUN: Final = re.compile(r"\d{5,}")

_DATE: Final = (
    r"(?:(?:19|20)\d\d[-./](?:0?[1-9]|1[0-2])[-./](?:0?[1-9]|[12]\d|3[01])"
    r"|(?:0?[1-9]|[12]\d|3[01])[-./ ](?:0?[1-9]|[12]\d|3[01])[-./ ](?:(?:19|20)\d\d|\d\d))"
)
_HARMLESS: Final = re.compile(rf"(?:{_DATE}|(?:19|20)\d\d|\d{{1,4}}\.\d\d)")  # one date, year or price
_HARMLESS_LENGTHS: Final = range(4, 11)
_JOINTS: Final = frozenset(" /–-")
_GROUP: Final = re.compile(r"\d+")
_AFTER: Final = re.compile(r"(?: \d{1,2})?")
_BEFORE: Final = re.compile(r"\d{1,2} ")
_CARD_GROUPS: Final = ({4, 5, 6}, {4}, {4, 6}, {4, 1}, {4, 2}, {4, 3}, {8}, {6, 7}, {6, 8})
SCORE: Final = 0.6


def find(text: str) -> list[Span]:
    """Return everything of these kinds; spans may overlap."""
    return [*addresses(text), *_digits(text)]


def addresses(text: str) -> list[Span]:
    """Return e-mail addresses and IBANs only: these win over names and other parts found inside them."""
    spans: list[Span] = []
    if "@" in text:
        spans += [Span(*m.span(), "EMAIL_ADDRESS", 0.98) for m in EMAIL.finditer(text)]
    if _SAID_AT.search(text):
        spans += [Span(*m.span(), "EMAIL_ADDRESS", 0.98) for m in SPELLED_EMAIL.finditer(text)]
    spans += [Span(*m.span(), "IBAN_CODE", 0.9) for m in IBAN.finditer(text) if _is_iban(m.group())]
    return spans


def _is_iban(value: str) -> bool:
    plain = value.replace(" ", "").replace("-", "")
    return 15 <= len(plain) <= 34 and sum(c.isdigit() for c in plain) >= 8


def _digits(text: str) -> Iterator[Span]:
    for match in DIGITS.finditer(text):
        start, end = match.span()
        groups = _GROUP.findall(match.group())
        if len(groups) > 1 and harmless(match.group()):
            continue
        total = sum(map(len, groups))
        if total >= 7:
            yield Span(start, end, _kind(match.group(), groups, total), SCORE)
        else:
            for run in RUN.finditer(text, start, end):
                yield Span(*run.span(), "NUMBER", SCORE)


def harmless(text: str) -> bool:
    """Return whether it is dates, years and prices with up to three separators between, perhaps beside a short number.

    This is not one pattern: '2019-12-12-2019' reads in two ways, and each such piece would double the time. Here each
    position where a piece may begin is looked at once, whatever is before it.
    """
    begins = [False] * (len(text) + 1)
    begins[0] = True
    if before := _BEFORE.match(text):
        begins[before.end()] = True
    for start, possible in enumerate(begins):
        if not possible:
            continue
        for end in (start + length for length in _HARMLESS_LENGTHS if start + length <= len(text)):
            if not _HARMLESS.fullmatch(text, start, end):
                continue
            if _AFTER.fullmatch(text, end):
                return True
            for next_start in range(end + 1, min(end + 3, len(text)) + 1):
                if text[next_start - 1] not in _JOINTS:
                    break
                begins[next_start] = True
    return False


def _kind(text: str, groups: list[str], total: int) -> str:
    if 13 <= total <= 19 and (len(groups) == 1 or {len(g) for g in groups} in _CARD_GROUPS):
        return "CREDIT_CARD"
    if total > 15:
        return "NUMBER"
    if len(groups) == 1 and not text.startswith("+"):
        return "PHONE_NUMBER" if 10 <= total <= 12 else "NUMBER"
    return "PHONE_NUMBER"
