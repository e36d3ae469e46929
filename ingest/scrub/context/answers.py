"""Finds answers to questions: "jo at mail" is an e-mail address only where somebody asked for one.

Works on words alone; does not know Presidio. Only what has the shape of an answer counts, so that "why do you ask?"
stays.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from ingest.scrub.context.asked import IDENT, asked
from ingest.scrub.names.gazetteer import Lexicon, plain
from ingest.scrub.names.words import COMMON, NAMES_WHERE_EXPECTED, listed
from ingest.scrub.spans import Span

SCORE: Final = 0.72
MOST_NAME_WORDS: Final = 4
LONGEST_ANSWER: Final = 120
_SPEAKER: Final = re.compile(r"\s*(?:(?i:user|customer|client|me|a|answer|caller|guest)\s?:\s*)?")

CODES: Final[tuple[str, ...]] = ("ORDER_ID", "ACCOUNT_NUMBER", "USERNAME", "ID_NUMBER", "EMAIL_ADDRESS")

_LEAD: Final = re.compile(
    r"(?i)(?>\s*)(?>(?:yes|yeah|yep|yup|sure thing|sure|no worries|alright|ok|okay|hi|hello|hey|of course|certainly|absolutely|no problem|thanks|thank you|"
    r"it'?s|it is|its|i'?m|i am|im|this is|that is|that's|thats|you can call me|call me|they call me|"
    r"you(?:'re| are) (?:speaking|talking|chatting) (?:with|to)|speaking with|under|"
    r"(?:(?:my|the|his|her|our|full|first|last|account|user|order|customer|member|phone|mobile|zip|e-?mail|street|maiden|"
    r"mother'?s|shipping|billing|home|good)[\s-]?){0,4}(?:user\s?name|name|names|id|no\.?|number|code|address|e-?mail|phone|account|"
    r"order|login|zip|pin)|is|was|would be|should be|here|here is|here's|here it is|for|the|a|my)"
    r"(?!\w)[\s:=#.,!–-]*)*"
)
_PIECE: Final = re.compile(r"(?>[^,;\n.!?&]|[.](?=\w)|(?<=\b[A-Za-z])[.]|(?<=\b(?:[Mm]r|[Mm]s|[Dd]r|[Ss]t))[.])+")
_AND: Final = re.compile(r"(?i)\s(?:and|&|but)\s|\s[–-]+\s|\s/\s|:\s")
_TRAIL: Final = re.compile(
    r"(?i)\s(?:(?:is|'s)\s(?:my|the|his|her)\s(?:\w+\s)?name|here|speaking|is it)\b.*$", re.DOTALL
)
_NAME_WORD: Final = re.compile(r"[^\W\d_]+(?:['’.-][^\W\d_]+)*\.?")
_TOKEN: Final = re.compile(r"[^\s,;()<>\"“”\x00]+")
_NO_CODE: Final = re.compile(
    r"(?i)[$€£₹]?\d{1,3}(?:[.,]\d{1,2})?|[$€£₹]\S*|\d{1,2}[/:.-]\d{1,2}(?:[/:.-]\d{2,4})?|\d+(?:st|nd|rd|th)|"
    r"\d+(?:am|pm|gb|tb|mb|inch|in|kg|cm|mm|oz|lbs?|g|ml|l|x|%|hrs?|h|days?|mins?|rs|usd|k|v|w|p|hz)|(?:19|20)\d\d|\d+[,.]\d+"
)
_POSTCODE: Final = re.compile(
    r"(?<![\w$€£.,/:-])(?:\d{3,6}(?:-\d{4})?|[A-Za-z]{1,2}\d[A-Za-z\d]?\s?\d[A-Za-z]{2}|[A-Za-z]\d[A-Za-z]\s?\d[A-Za-z]\d|"
    r"\d{4}\s?[A-Z]{2})(?![\w%/:-])"
)
_LAST_FIRST: Final = re.compile(r"(?:^|\s)([^\W\d_]{2,20}),\s([^\W\d_]{2,20})[\s.!]*\Z")
_CALLED: Final = re.compile(
    rf"(?i)\b(?:account|acct|customer|member(?:ship)?|order|user|login|username)\s?({IDENT})?(?!\w)"
    r"[\s:=#]{1,3}(?:is\s|was\s)?([a-z]{7,20})(?!\w)"
)
_MAIL: Final = re.compile(
    r"(?i)[\w.+-]{2,40}\s?(?:\(at\)|\[at\]|\bat\b|@)\s?[\w-]{2,30}(?:\s?(?:\.|\bdot\b)\s?\w{2,10})*"
)
_AMOUNT: Final = re.compile(
    r"(?i)(?<!\d)\d+\s?(?:hours?|hrs?|days?|weeks?|months?|years?|minutes?|mins?|seconds?|secs?|am|pm|times?|items?|pieces?|pcs|rs|rupees|dollars?|"
    r"bucks|percent|more|of\s(?:them|these|those))(?!\w)"
)
_MONTH: Final = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6}\.?"
_BIRTH: Final = re.compile(
    rf"(?i)(?<![\w/.-])(?:\d{{1,4}}[/.-]\d{{1,2}}[/.-]\d{{1,4}}|{_MONTH}\s\d{{1,2}}(?:st|nd|rd|th)?,?\s(?:19|20)?\d\d"
    rf"|\d{{1,2}}(?:st|nd|rd|th)?\s(?:of\s)?{_MONTH},?\s(?:19|20)?\d\d)(?![\w/-])"
)
_NO_NUMBER: Final = re.compile(
    r"(?i)(?<![\w-])(?!(?:the|my|your|a|an|this|that|same|in|on|at|to|of|by)\s)[^\W\d_]{3,20}(?:\s[^\W\d_]{3,20})?\s"
    r"(?:street|road|avenue|lane|boulevard|crescent|terrace|mews|gardens|grove|rd|ave|blvd)(?!\w)"
)
_PHONE: Final = re.compile(r"\+?\(?\d[\d ().-]{4,20}\d")
_CONSONANTS: Final = re.compile(r"(?i)[^aeiouy]{4}")
_SPEAKABLE: Final = re.compile(r"(?i)ght|tch|sch|ngth|rths")
_NUMBER_AND_WORD: Final = re.compile(r"\d{1,6}\s[^\W\d]")
_STREET: Final = re.compile(
    r"(?<![\w$€£₹.,-])\d[\w/-]*(?:(?!\s(?i:and my|but|because|please|thanks|thank you|is it|can you|my name|i)\b)"
    r"(?>[^?!;.\n]|\n(?=[^\n]{2,40}(?:\n|$))|\.(?!\s|$)|(?<=\b\w\w)\.|(?<=\b\w\w\w)\.|(?<=\b\w\w\w\w)\.)){3,110}"
)


def given(text: str, kinds: frozenset[str], lexicon: Lexicon) -> Iterator[Span]:
    """Yield what in a customer's message answers a question for one of these kinds. Spans may overlap."""
    for match in _CALLED.finditer(text):
        if _unspeakable(match.group(2)) if not match.group(1) else not _word(match.group(2), lexicon):
            yield Span(*match.span(2), "ACCOUNT_NUMBER", SCORE)
    if not kinds:
        return
    pieces = list(_pieces(text))
    if "PERSON" in kinds:
        yield from _people(text, pieces, lexicon)
    if "EMAIL_ADDRESS" in kinds:
        for match in _MAIL.finditer(text):
            words = {plain(word) for word in _NAME_WORD.findall(match.group())} - {"at"}
            if "@" in match.group() or not words <= COMMON:  # not 'it at the'
                yield Span(*match.span(), "EMAIL_ADDRESS", SCORE)
    codes = [kind for kind in CODES if kind in kinds]
    if codes:
        yield from _codes(text, pieces, codes, lexicon)
    if "PHONE_NUMBER" in kinds:
        yield from (Span(*m.span(), "PHONE_NUMBER", SCORE) for m in _PHONE.finditer(text))
    if "DATE_OF_BIRTH" in kinds:
        yield from (Span(*m.span(), "DATE_OF_BIRTH", SCORE) for m in _BIRTH.finditer(text))
    if kinds & {"PHONE_NUMBER", "CREDIT_CARD"}:  # the last four digits
        kind = "PHONE_NUMBER" if "PHONE_NUMBER" in kinds else "CREDIT_CARD"
        yield from (Span(a, b, kind, SCORE) for a, b in pieces if b - a == 4 and text[a:b].isdecimal())
    if "ADDRESS" in kinds:
        yield from _addresses(text, pieces, lexicon)


def within(text: str, lexicon: Lexicon) -> Iterator[Span]:
    """Yield the answer to the last question in a text with questions and answers, such as a pasted transcript."""
    cut = text.rfind("?")
    rest = text[cut + 1 :]
    if cut < 0 or not rest.strip() or len(rest) > LONGEST_ANSWER:
        return
    begins = max(text.rfind(end, 0, cut) for end in ".!?\n") + 1
    skip = cut + 1 + len(_SPEAKER.match(rest).group())  # type: ignore[union-attr] # it matches the empty text too
    for span in given(text[skip:], asked(text[begins : cut + 1]) - {"EMAIL_ADDRESS"}, lexicon):
        yield Span(span.start + skip, span.end + skip, span.kind, span.score)


def _pieces(text: str) -> Iterator[tuple[int, int]]:
    """Yield the bounds of a message's parts, each without the words that only lead to the answer."""
    for match in _PIECE.finditer(text):
        start = match.start()
        for joint in [*_AND.finditer(text, match.start(), match.end()), None]:
            end = joint.start() if joint else match.end()
            lead = _LEAD.match(text, start, end)
            begin = lead.end() if lead else start
            while end > begin and text[end - 1].isspace():
                end -= 1
            if begin < end:
                yield begin, end
            start = joint.end() if joint else end


def _people(text: str, pieces: list[tuple[int, int]], lexicon: Lexicon) -> Iterator[Span]:
    if both := _LAST_FIRST.search(text):
        last, first = both.groups()
        likely = plain(first) in NAMES_WHERE_EXPECTED or (lexicon.listed_first(first) and plain(first) not in COMMON)
        if likely and (not lexicon.is_word(last) or lexicon.last(last)):
            yield from (Span(*both.span(part), "PERSON", SCORE) for part in (1, 2))
    named = 0  # where the last found name ends
    for n, (start, end) in enumerate(pieces[:8]):
        for span in _names(text, start, end, lexicon, first=n == 0 or 0 < start - named <= 2):
            named = span.end
            yield span


def _names(text: str, start: int, end: int, lexicon: Lexicon, *, first: bool) -> Iterator[Span]:
    words: list[tuple[int, int]] = []
    at = start
    if trail := _TRAIL.search(text, start, end):
        end = trail.start()
    while len(words) <= MOST_NAME_WORDS and (match := _NAME_WORD.match(text, at, end)):
        words.append(match.span())
        at = match.end()
        while at < end and text[at] in " \t":
            at += 1
    if not words or len(words) > MOST_NAME_WORDS or (at < end and text[at] not in "(@#"):
        words = _up_to_ordinary(text, words, lexicon)
        if not words or not all(_proper(text[a:b], lexicon) for a, b in words):
            return
    found = [text[a:b] for a, b in words]
    if any(plain(word) in _NOT_IN_NAMES for word in found):
        return
    strange = [word for word in found if not lexicon.english(word) and len(word) > 1]
    alone = found[0].casefold() in NAMES_WHERE_EXPECTED and text.strip(" .!") == found[0]  # 'june'
    if not strange and first and len(found) <= 3 and (alone or plain(found[0]) not in COMMON):  # or 'violet'
        strange = found if lexicon.listed_first(found[0]) or (len(found) == 1 and not lexicon.is_word(found[0])) else []
    if strange and (first or any(_proper(word, lexicon) for word in strange)):
        yield Span(words[0][0], words[-1][1], "PERSON", SCORE)


_NOT_IN_NAMES: Final = listed(
    """i you my your we they he she it is was are not don't dont can't cant won't didn't what why how when where
    who which to of for from on in at by with have has had do did does be been this that these those need want
    know think"""
)


def _up_to_ordinary(text: str, words: list[tuple[int, int]], lexicon: Lexicon) -> list[tuple[int, int]]:
    kept = []
    for start, end in words[:MOST_NAME_WORDS]:
        if lexicon.english(text[start:end]):
            break
        kept.append((start, end))
    return kept


def _proper(word: str, lexicon: Lexicon) -> bool:
    return word[0].isupper() or lexicon.first(word) or (lexicon.last(word) and not lexicon.ordinary(word))


def _codes(text: str, pieces: list[tuple[int, int]], kinds: list[str], lexicon: Lexicon) -> Iterator[Span]:
    alone = {(a, b) for a, b in pieces}
    short = len(text.split()) <= 6 and "<" not in text  # with a placeholder in it, it has been answered
    for match in _TOKEN.finditer(text):
        start, end = match.span()
        while start < end and text[start] in "#'‘’(:=-":
            start += 1
        while end > start and text[end - 1] in ".:!?'’):-":
            end -= 1
        token = text[start:end]
        bare = token.isdecimal() and ((start, end) in alone or short)
        if len(token) < 3 or token.casefold() in _LABELS or (_NO_CODE.fullmatch(token) and not bare):
            continue
        digits = sum(c.isdigit() for c in token)
        if digits and any(c.isalpha() for c in token) and len(token) < 5 and digits < 3:
            continue  # 'ps5'
        kind = _code_kind(token, kinds, digits)
        if digits:
            yield Span(start, end, kind, SCORE)
        elif short and (start, end) in alone and not lexicon.in_dictionary(token) and token.isascii():
            yield Span(start, end, kind, SCORE - 0.01)
        elif (
            ("_" in token and len(token) > 4)
            or (len(token) > 6 and _unspeakable(token) and not lexicon.in_dictionary(token))
            or (len(token) > 7 and short and token.isalpha() and token.isascii() and not _word(token, lexicon))
        ):
            yield Span(start, end, kind, SCORE)


_LABELS: Final = listed(
    """username userid acct login email e-mail mobile cell phone account order zip zipcode password pin"""
)


def _word(token: str, lexicon: Lexicon) -> bool:
    return lexicon.in_dictionary(token) or lexicon.listed_first(token) or lexicon.last(token)


def _unspeakable(token: str) -> bool:
    """Return whether these are letters that make no word: an account number such as 'vvqcgjkccz'."""
    return token.isascii() and token.isalpha() and bool(_CONSONANTS.search(token)) and not _SPEAKABLE.search(token)


def _code_kind(token: str, kinds: list[str], digits: int) -> str:
    if "USERNAME" in kinds and any(c.islower() for c in token):
        return "USERNAME"
    rest = [kind for kind in kinds if kind not in ("USERNAME", "EMAIL_ADDRESS")]
    return rest[0] if rest and digits else (kinds[0] if kinds[0] != "EMAIL_ADDRESS" else "USERNAME")


def _addresses(text: str, pieces: list[tuple[int, int]], lexicon: Lexicon) -> Iterator[Span]:
    found = False
    for match in _STREET.finditer(text):
        value = match.group()
        if _AMOUNT.match(value):
            continue
        if (any(c.isalpha() for c in value) and not _NO_CODE.fullmatch(value.split()[0])) or _NUMBER_AND_WORD.match(
            value
        ):
            found = True
            yield Span(match.start(), match.start() + len(value.rstrip(" .,")), "ADDRESS", SCORE)
    for match in _POSTCODE.finditer(text):
        if not _NO_CODE.fullmatch(match.group()) or match.group().isdecimal():
            yield Span(*match.span(), "ADDRESS", SCORE - 0.02)
    yield from (Span(*match.span(), "ADDRESS", SCORE - 0.03) for match in _NO_NUMBER.finditer(text))
    if found or "<" in text or "‹" in text:
        return
    for start, end in pieces[:4]:  # a town or a street without a number
        words = text[start:end].split()
        town = any(w.isalpha() and len(w) > 3 and not lexicon.in_dictionary(w) for w in words)
        if town and len(words) <= 5 and not any(plain(w) in _NOT_IN_NAMES for w in words):
            yield Span(start, end, "ADDRESS", SCORE - 0.03)
