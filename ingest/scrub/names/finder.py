"""Finds people's names in a text by its words and their neighbours alone.

Two ways: a guess made elsewhere is trimmed or refused (`trimmed`), and names are found by lists and by the words
around them (`listed`, `introduced`). Knows no conversation.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from ingest.scrub.names.gazetteer import Lexicon, plain
from ingest.scrub.names.words import BRAND_PEOPLE, BRANDS, COMMON, NAMES_ALSO_WORDS, NAMES_WHERE_EXPECTED, PLACES
from ingest.scrub.spans import Span

SCORE: Final = 0.66
_WORD: Final = re.compile(r"[^\W\d_]+(?:['’.-][^\W\d_]+)*")
_LAST_WORD: Final = re.compile(r"(?<!\w)([^\W\d_]{2,24})\.?\s\Z")
_TO_PLACE: Final = re.compile(
    r"(?i)\b(?:in|to|from|at|near|via|of|around|outside|the|north|south|east|west|new|san|los)\s\Z"
)
_GAP: Final = re.compile(r"\s(?:[^\W\d_]\.?\s)?")
_BIG: Final = r"[A-ZÀ-ÖØ-ÞĀĂĄĆĈĊČĎĐĒĔĖĘĚĜĞĠĢĤĦĨĪĬĮİĴĶĹĻĽĿŁŃŅŇŌŎŐŒŔŖŘŚŜŞŠŢŤŦŨŪŬŮŰŲŴŶŸŹŻŽΑ-ΩА-Я]"
# bounded on all sides: a search must not begin again within an endless word
_NAME: Final = rf"(?<![^\W\d_]){_BIG}[^\W\d_]{{1,25}}(?:['’.-][^\W\d_]{{1,25}}){{0,3}}(?![^\W\d_])"
_FULL: Final = rf"{_NAME}(?:\s(?:{_BIG}\.?\s)?(?:(?:de|del|da|van|von|der|den|ten|la|le|al|bin|ibn|Ó|Mc|O')\s){{0,2}}{_NAME}){{0,2}}"
_KIN: Final = (
    r"kid|son|daughter|wife|husband|spouse|partner|friend|brother|sister|mother|father|mom|mum|dad|boss|boyfriend|girlfriend|"
    r"roommate|flatmate|neighbou?r|colleague|cousin|fianc[eé]e?|aunt|uncle|nephew|niece|grandmother|grandfather|grandma|"
    r"grandpa|child|twin|assistant|manager|agent|driver|courier|representative|rep|advisor|associate|colleague|co-?worker|host|"
    r"grandson|granddaughter|stepson|stepdaughter|buddy|bestie|bf|gf|hubby|wifey|roomie|mate|pal|nanny|landlord|landlady|tenant|"
    r"secretary|fiance|teacher|therapist|doctor|technician|plumber|baby"
)
# what stands around names, with the name as the group
_AROUND: Final = tuple(
    re.compile(pattern)
    for pattern in (
        rf"(?i:\b(?:my|his|her|our|their|your|an?|the)\s(?:\w+\s)?(?:{_KIN})(?:,|\s(?:is|was|named|called))?\s)({_FULL})",
        rf"(?i:\b(?:named|calls?|called|naming)\s(?:him|her|me|it|them|us)\s)({_FULL})",
        rf"(?i:\b(?:named|called|for|to|with|by|under|add|and|meet|met|ask|told|tell|contact|dear|attn:?|c/o|from|asked|thanks|"
        rf"thank\syou|hi|hello|hey|yes|sincerely|regards|signed|love|sent|name\sof)[\s,]{{1,2}})({_NAME}\s(?:{_BIG}\.?\s)?{_NAME})(?!\s{_NAME})",
        rf"(?i:\b(?:(?:spoke|spoken|speak|speaking|talk|talked|talking|chat|chatted|chatting|dealt|met|meeting|follow(?:ed)?\sup)"
        rf"\s(?:to|with)|assigned\sto|said\sto|assistant\sto|care\sof|signed\sby|on\sbehalf\sof|beneficiary,?)\s)({_FULL})",
        rf"({_FULL})(?=\s(?i:said|says|told|asked|shouted|replied|wrote|lives|promised|helped|called\sme|answered|assured|refused|"
        rf"is\svery\s\w+|was\svery\s\w+|from\s(?:your|the)\s\w+|just\shas|has\sbeen\svery)\b)",
        rf"({_FULL})(?=['’]s\s(?i:daughter|son|kid|address|account|phone|order|mother|father|wife|husband|birthday|house|e-?mail|"
        rf"name|card|gift|room|friend|brother|sister|number|apartment|office|parcel|package)\b)",
        rf"(?m:^[>\s?*-]{{0,6}})({_FULL})(?=:\s)",
        rf"(?i:\b(?:by|from|director|directed\sby|author|written\sby|starring|attention|contact|sender|recipient|customer|name|"
        rf"agent|buyer|signed|holder|guest|host|patient|owner):\s{{1,6}})({_FULL})",
        rf"[,]\s({_NAME})(?=[!?.](?:\s|$))",
        rf"(?m:^)({_NAME})(?=,\s(?:can|could|would|will|please|i|thank|why|how|what|you|we|is|are|do|did)\b)",
    )
)
_PAIR: Final = re.compile(rf"({_NAME})\s({_BIG}\.?\s{_NAME})")
_TITLE: Final = re.compile(r"(?i)(?:mr|mrs|ms|miss|dr|prof|sir|madam)\.?\s")
_ROW: Final = re.compile(r"[^\W\d_]{2,20}(?:,\s[^\W\d_]{2,20}){1,12},?\s(?:and|or|&)\s[^\W\d_]{2,20}")
_LINE: Final = re.compile(rf"(?m:^[>?*\s-]{{0,6}})({_NAME}\s{{1,2}}(?:{_BIG}\.?\s)?{_NAME}(?:\s{_NAME})?)(?=[ \t]*\n)")
_GREETED: Final = re.compile(
    r"(?i)(?:^|[.!?\n,]\s?)(?:(?:ok|okay|great|good|perfect|alright|sure|yes|no|all\sright|awesome|wonderful)[\s,]{1,2})?"
    r"(?:thanks|thank\syou|thx|thank\syou\s(?:so|very)\smuch|hi|hello|hey|dear|great|welcome|sorry|bye|goodbye|good\s(?:morning|day|afternoon|evening)|"
    r"alright|got\sit|i\ssee|nice\sto\smeet\syou|pleasure),?\s([^\W\d_]{2,20})(?=\s?[!.,?]|\s?$)"
)
_BEFORE_MONTH: Final = re.compile(
    r"(?i)(?:\d(?:st|nd|rd|th)?(?:\sof)?|\b(?:in|by|of|on|since|until|till|last|next|this|mid|early|late|before|after))[\s-]\Z"
)
_DIGIT_NEXT: Final = re.compile(r"\s?\d")
_ACRONYM: Final = re.compile(r"[B-DF-HJ-NP-TV-Z]{2,6}")
_LOWERCASE_KIN: Final = re.compile(
    rf"(?i)\b(?:(?:my|his|her|our|their)\s(?:\w+\s)?(?:{_KIN})(?:,|\s(?:is|was|named|called|is\scalled|is\snamed))?|the\s(?:courier|driver|"
    rf"technician|manager|plumber|agent|rep|neighbou?r),)\s([^\W\d_]{{3,20}}(?:\s[^\W\d_]{{3,20}})?)(?![\w'’])"
)
_IAM: Final = re.compile(
    r"(?i)\b(?:i\sam|i['’]?m|(?:it['’]?s|its)\sme|names?|name['’]s)\s([^\W\d_]{3,20})"
    r"(?=\s?(?:[,.!?;\n(]|$)|\s(?:and|from|here|again|btw|not|calling|speaking|the\sone)\b)"
)
_THIS_IS: Final = re.compile(
    r"(?i)(?:^|[.!?,\n]\s?|\b(?:yes|yep|yeah|hi|hello|hey|no|ok),?\s)this\sis\s([^\W\d_]{3,20}(?:\s[^\W\d_]{2,20})?)(?=\s?[,.!?]?\s?$|\s(?:from|calling|again|speaking)\b)"
)
_HERE: Final = re.compile(r"(?i)(?:^|[,.!?\n]\s?)([^\W\d_]{3,20})\s(?:here|speaking)(?=\s?(?:[,.!?\n]|$|again\b))")
_TITLED: Final = re.compile(r"(?i)\b(?:mrs?|ms|miss|dr|prof|aunt|uncle)\.?\s([^\W\d_]{3,20})(?![\w'’])")
_NO_PERSON: Final = frozenset(
    ("rich", "merry", "earnest", "may", "will", "sandy", "rusty", "woody", "sunny", "happy", "misty")
)
_INITIAL: Final = re.compile(r"(?<![\w.'’-])(?:(?:[^\W\d_]\.\s?|[B-HJ-Zb-hj-lo-qs-tv-z]\s){1,2})\Z")
_INITIAL_AFTER: Final = re.compile(r"\s[^\W\d_](?:\.(?!\w)|(?=\s?(?:[,.!?\n]|$)))")
_ENDS: Final = re.compile(r"(?<!\s)\s*(?:[.,!?;:\n]|$|(?:and|or|from|for|at|on|here|please|thanks)\b)")
_TAIL: Final = re.compile(r"(?:-[^\W\d_]{2,24}){1,2}(?!\w)")
_HEAD: Final = re.compile(r"(?<![\w-])[^\W\d_]{2,24}-\Z")
_SIGNED: Final = re.compile(
    r"(?i)(?:[-–~]\s?(?:[a-z]\.\s)?|\n(?:regards|thanks|love|cheers|best),?\s)([^\W\d_]{2,20})\s?$"
)
_CALLED: Final = re.compile(
    r"(?i)\b(?:(?:people|they|everyone|everybody|friends|you\scan|just|always|who)\scalls?\sme|(?:named|called)\s(?:him|her|it)|"
    r"goes\sby|go\sby|known\sas)\s([^\W\d_]{2,20}(?:\s[^\W\d_]{2,20})?)(?=[.,!?]|\s?$)"
)
_KINSMAN: Final = re.compile(
    r"(?i)\b(?:uncle|auntie|aunt|cousin|grandma|grandpa|nephew|niece)\s([^\W\d_]{3,20})(?![\w'’])"
    r"|\b(?:agent|rep|representative|advisor|colleague|manager|driver|courier|lady|guy|man|woman|girl|person|someone|somebody|friend|"
    r"dog|cat|he|she|who)(?:\sis|\swas|'s)?\s(?:named|called)\s([^\W\d_]{3,20})(?![\w'’])"
    r"|\b(?:(?:recipient|sender|customer|buyer|contact|holder|passenger|guest|name|signed|attn|attention)\s?[:=]|"
    r"belongs?\sto|registered\sto|in\sthe\sname\sof|on\sbehalf\sof|c/o|care\sof|attn|attention(?:\sof)?)\s"
    r"(?:(?:mr|mrs|ms|miss|dr)\.?\s)?([^\W\d_]{3,20}(?:\s[^\W\d_]{2,20}){0,3})(?![\w'’])"
)


def trimmed(text: str, start: int, end: int, lexicon: Lexicon) -> tuple[int, int] | None:
    """Return the bounds of the part of a guess that may be a name, or None.

    Common words are cut off both ends; a single word that is an ordinary English word or a place is no name.
    """
    words = [(m.start() + start, m.end() + start) for m in _WORD.finditer(text[start:end])]
    if any(c.isdigit() or c in "@#/‹›<>_" for c in text[start:end]):
        return None

    def common(word: tuple[int, int]) -> bool:
        low = plain(text[word[0] : word[1]])
        return low in COMMON or low in BRANDS

    while words and common(words[0]):
        if plain(text[slice(*words.pop(0))]) in BRANDS:
            return None  # what follows is the product
    for i, word in enumerate(words):
        if common(word):
            words = words[:i]
            break
    while len(words) > 1 and text[slice(*words[-1])].islower() and lexicon.english(text[slice(*words[-1])]):
        words.pop()
    if not words:
        return None
    start, end = words[0][0], words[-1][1]
    if text[start:end].casefold().endswith(("'s", "’s")):
        end -= 2
    if end - start < 2 or plain(text[start:end]) in BRAND_PEOPLE or is_brand(text, start, end):
        return None
    first = text[slice(*words[0])]
    if _ACRONYM.fullmatch(first) and not text.isupper() and not (lexicon.first(first) or lexicon.last(first)):
        return None  # 'KYC', 'HDFC Bank'; not 'PRIYA'
    if len(words) == 1:
        allowed = _may_stand_alone(text, start, end, lexicon) and not _is_month(text, start, end)
    else:
        allowed = not all(plain(text[a:b]) in PLACES for a, b in words)
    return (start, end) if allowed else None


def _is_month(text: str, start: int, end: int) -> bool:
    """Return whether it is 'May' with a number, or a word of time, beside it."""
    if plain(text[start:end]) != "may":
        return False
    return bool(_BEFORE_MONTH.search(text[max(0, start - 12) : start]) or _DIGIT_NEXT.match(text, end))


def is_brand(text: str, start: int, end: int) -> bool:
    """Return whether it is part of a brand: 'michael' of 'michael kors', 'martens' of 'dr martens'."""
    if (after := _WORD.match(text, end + 1)) and plain(text[start : after.end()]) in BRAND_PEOPLE:
        return True
    before = _LAST_WORD.search(text, max(0, start - 26), start)
    return before is not None and plain(f"{before.group(1)} {text[start:end]}") in BRAND_PEOPLE


def _may_stand_alone(text: str, start: int, end: int, lexicon: Lexicon) -> bool:
    low = plain(text[start:end])
    if low in PLACES:
        return (
            lexicon.listed_first(low)
            and text[start].isupper()
            and not _TO_PLACE.search(text[max(0, start - 9) : start])
        )
    return not lexicon.is_word(low)


def believable(name: str, lexicon: Lexicon) -> bool:
    """Return whether a model's guess is believed: in lowercase, only two words or more that are no English words."""
    if name != name.lower():
        return True
    words = name.split()
    return len(words) > 1 and not any(lexicon.is_word(word) for word in words)


def listed(text: str, lexicon: Lexicon) -> Iterator[Span]:
    """Yield names by the lists: a first name that is nothing else, or one and what follows it. Spans may overlap."""
    words = [m.span() for m in _WORD.finditer(text)]
    shouting = text.isupper()
    for i, (start, end) in enumerate(words):
        word = text[start:end]
        after = _next(text, words, i)
        if after and _first_and_last(text, start, after, lexicon):
            yield Span(start, after[1] - 2 * _owning(text, after), "PERSON", SCORE)
            continue
        if len(word) < 3 or not lexicon.first(word):
            continue
        if _is_month(text, start, end):
            continue
        sure = lexicon.only_first(word)
        if (
            after
            and _GAP.fullmatch(text, end, after[0])
            and _follows(text, start, after, lexicon, sure=sure, shouting=shouting)
        ):
            if plain(text[start : after[1]]) not in BRAND_PEOPLE:
                yield Span(start, after[1] - 2 * _owning(text, after), "PERSON", SCORE)
            continue
        if after and plain(text[start : after[1]]) in BRAND_PEOPLE:
            continue
        if sure or (word[0].isupper() and not shouting and inside(text, start) and not lexicon.is_word(word)):
            yield Span(start, end - 2 * _owning(text, (start, end)), "PERSON", SCORE)


def introduced(text: str, lexicon: Lexicon) -> Iterator[Span]:
    """Yield words that the words around them make a name, most of them capitalised. Spans may overlap."""
    yield from _given(text, lexicon)
    yield from _related(text, lexicon)
    yield from _rows(text, lexicon)
    if text.islower():
        return
    for pattern in _AROUND:
        for match in pattern.finditer(text):
            start, end = match.span(1)
            title = _TITLE.match(text, start, end)
            start = title.end() if title else start
            if _proper(text, start, end, lexicon):
                yield Span(start, end, "PERSON", SCORE)
    for match in _PAIR.finditer(text):
        if not lexicon.ordinary(match.group(1)) and _proper(text, *match.span(), lexicon):
            yield Span(*match.span(), "PERSON", SCORE)
    for match in _LINE.finditer(text):
        if _proper(text, *match.span(1), lexicon) and not any(lexicon.ordinary(w) for w in match.group(1).split()):
            yield Span(*match.span(1), "PERSON", SCORE)


def _given(text: str, lexicon: Lexicon) -> Iterator[Span]:
    """Yield names in any case that are given as such."""
    for match in _CALLED.finditer(text):
        if all(lexicon.unknown(word) for word in match.group(1).split()):
            yield Span(*match.span(1), "PERSON", SCORE)
    for match in _KINSMAN.finditer(text):
        start, end = match.span(match.lastindex or 0)
        words = text[start:end].split()
        known = list(itertools.takewhile(lambda word: not lexicon.english(word), words))
        if known and known[0].casefold() not in PLACES:
            yield Span(start, start + len(" ".join(known)), "PERSON", SCORE)
    for match in (*_GREETED.finditer(text), *_SIGNED.finditer(text)):
        low = plain(match.group(1))
        ended = match.re is _SIGNED and _ends_a_sentence(text, match.start())
        name = (
            low in NAMES_WHERE_EXPECTED or (lexicon.listed_first(low) and low not in COMMON) or not lexicon.english(low)
        )
        if name or (ended and not lexicon.is_word(low)):  # 'thanks! - lakshmi'
            yield Span(*match.span(1), "PERSON", SCORE)


def _ends_a_sentence(text: str, end: int) -> bool:
    while end and text[end - 1].isspace():
        end -= 1
    return end > 0 and text[end - 1] in "!."


def _related(text: str, lexicon: Lexicon) -> Iterator[Span]:
    """Yield names in any case behind a relation or a title, and those by which somebody introduces themselves."""
    for pattern in (_LOWERCASE_KIN, _TITLED, _THIS_IS):
        for match in pattern.finditer(text):
            words = list(itertools.takewhile(lambda word: _surely(word, lexicon), match.group(1).split()))
            every = match.group(1).split()
            if pattern is _THIS_IS and lexicon.in_dictionary(every[0]):
                continue  # 'this is art'
            if len(words) == 1 < len(every) and lexicon.last(every[1]) and _ENDS.match(text, match.end()):
                words = every  # 'my aunt, philippa crane'
            start = match.start(1)
            if words and plain(words[0]) not in PLACES and not is_brand(text, start, start + len(words[0])):
                yield Span(start, start + len(" ".join(words)), "PERSON", SCORE)
    for match in (*_IAM.finditer(text), *_HERE.finditer(text)):
        low = plain(match.group(1))
        if lexicon.listed_first(low) and low not in _NO_PERSON and low not in PLACES and not lexicon.is_word(low):
            yield Span(*match.span(1), "PERSON", SCORE)


def _rows(text: str, lexicon: Lexicon) -> Iterator[Span]:
    """Yield names in a row: 'otis, marley, quinn and me'."""
    for match in _ROW.finditer(text):
        row = [m.span() for m in _WORD.finditer(text, *match.span()) if m.group() not in ("and", "or")]
        row = [(a, b) for a, b in row if text[a:b] not in ("me", "i", "myself")]
        likely = [(a, b) for a, b in row if _name_in_row(text[a:b], lexicon)]
        if not any(lexicon.only_first(text[a:b]) or text[a].isupper() for a, b in likely):
            continue
        if 2 * len(likely) >= len(row) and len(likely) > 1:
            yield from (Span(a, b, "PERSON", SCORE) for a, b in row if not lexicon.is_word(text[a:b]))


def _name_in_row(word: str, lexicon: Lexicon) -> bool:
    if word[0].isupper():
        return not lexicon.english(word) or ((lexicon.first(word) or lexicon.last(word)) and not lexicon.is_word(word))
    return lexicon.listed_first(word) and not lexicon.is_word(word)


def _surely(word: str, lexicon: Lexicon) -> bool:
    """Return whether it is no word of English, or a first name that is only that."""
    return lexicon.only_first(word) or not (lexicon.english(word) or lexicon.in_dictionary(word))


def _proper(text: str, start: int, end: int, lexicon: Lexicon) -> bool:
    """Return whether no word of it is an ordinary one, and it is neither a place nor a brand."""
    words = [text[start + m.start() : start + m.end()] for m in _WORD.finditer(text[start:end])]
    lows = [plain(word) for word in words]
    if any(low in BRANDS or low in COMMON for low in lows) or plain(text[start:end]) in BRAND_PEOPLE:
        return False
    if len(words) == 1:
        return not lexicon.english(words[0]) and not words[0].isupper()
    return not all(low in PLACES for low in lows) and not all(lexicon.ordinary(low) for low in lows)


def _next(text: str, words: list[tuple[int, int]], i: int) -> tuple[int, int] | None:
    """Return the bounds of the word after the `i`th, or of the one after a middle initial."""
    rest = words[i + 1 : i + 3]
    if len(rest) == 2 and rest[0][1] - rest[0][0] == 1 and _GAP.fullmatch(text, words[i][1], rest[1][0]):
        return rest[1]
    return rest[0] if rest else None


def _first_and_last(text: str, start: int, after: tuple[int, int], lexicon: Lexicon) -> bool:
    """Return whether it is a first and last name in lowercase, one of them also a place or a word: 'laura lima'."""
    both = text[start : after[1]]
    if not both.islower() or not _GAP.fullmatch(text, start + len(both.split()[0]), after[0]):
        return False
    first, last = plain(both.split()[0]), plain(text[slice(*after)])
    if plain(both) in BRAND_PEOPLE or not lexicon.last(last) or len(last) < 3:
        return False
    if lexicon.only_first(first):  # at the end of what is said: 'kevin young.', but not 'kevin long ago'
        return (last in NAMES_ALSO_WORDS or last in PLACES) and bool(_ENDS.match(text, after[1]))
    named = lexicon.listed_first(first) and (first in PLACES or first in NAMES_ALSO_WORDS) and first not in COMMON
    return named and not lexicon.in_dictionary(last) and last not in PLACES


def _follows(text: str, start: int, after: tuple[int, int], lexicon: Lexicon, *, sure: bool, shouting: bool) -> bool:
    """Return whether the next word is the rest of the name."""
    word = text[after[0] : after[1]]
    low = plain(word)
    if len(low) < 2 or low in COMMON or low in BRANDS:
        return False
    if text[start].isupper() and word[0].isupper() and not shouting:
        return sure or not lexicon.is_word(low) or lexicon.last(low)
    known = lexicon.last(low) or lexicon.first(low)
    if sure:
        return (known or len(low) > 2) and not lexicon.english(low)
    return known and not lexicon.english(low) and not lexicon.is_word(low) and len(low) > 3


def hyphenated(text: str, span: Span) -> Span:
    """Return the span with the other halves of a double name: 'hyun-woo', of which a list knew one."""
    start, end = span.start, span.end
    if (after := _TAIL.match(text, end)) and text[end - 1].isalpha():
        end = after.end()
    if start < len(text) and text[start].isalpha() and (before := _HEAD.search(text, max(0, start - 26), start)):
        start = before.start()
    return replace(span, start=start, end=end)


def with_initials(text: str, span: Span) -> Span:
    """Return the span with the letters that stand for the rest of a name: 'w. abernathy', 'andrew m.'."""
    start, end = span.start, span.end
    if " " not in text[start:end]:
        if before := _INITIAL.search(text, max(0, start - 8), start):
            start = before.start()
        elif after := _INITIAL_AFTER.match(text, end):
            end = after.end()
    return replace(span, start=start, end=end)


def inside(text: str, start: int) -> bool:
    """Return whether it is not the first word of a sentence, which has its capital anyway."""
    while start and text[start - 1] in " \"'“‘(":
        start -= 1
    return start > 0 and text[start - 1] not in ".!?\n:;-–>*"


def _owning(text: str, word: tuple[int, int]) -> bool:
    return text[word[0] : word[1]].casefold().endswith(("'s", "’s"))
