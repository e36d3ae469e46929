r"""The table of our own patterns, each with sentences it must find something in and sentences it must leave alone.

The examples are also the tests. Patterns are for the `regex` module: `\K` drops what was matched so far, so that
only the value is replaced. They know nothing of Presidio, nor of other messages. Plain runs of digits and e-mail
addresses are `ingest.scrub.rules.net`'s business; a pattern here gives a value its proper type or finds what has letters.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

# a code has a digit and at least four characters
_CODE: Final = r"(?=[\w/-]{0,40}\d)[A-Za-z0-9][\w/-]{2,40}[A-Za-z0-9]"
_IS: Final = r"(?:\s{0,2}(?:\b(?:is|was|are|being|it'?s|as)\b|[:=#\u2013-]|\()){0,3}\s{0,2}"
_NO: Final = r"(?i:id|ids|no\.?|nos\.?|nr\.?|num|number|numbers|ref(?:erence)?|code|\#)"
_NAME: Final = r"[^\W\d_](?:[^\W\d_]|['’.-](?=[^\W\d_])){0,25}"
_BIG_NAME: Final = r"(?=\p{Lu})" + _NAME
_STREETS: Final = (
    r"(?i:street|st|road|rd|avenue|ave|lane|ln|drive|dr|boulevard|blvd|court|ct|way|place|pl|square|sq|terrace|"
    r"close|crescent|parkway|pkwy|highway|hwy|circle|trail|alley|nagar|marg|colony|layout|sector|strasse|straße|"
    r"mews|grove|gardens|quay|wharf|villas)"
)
_MONTH: Final = r"(?i:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6}\.?"
_NO_STREET: Final = (
    r"days?|weeks?|months?|hours?|minutes?|mins?|times?|on|in|at|by|to|of|for|from|the|a|an|is|was|my|your|this|that|"
    r"and|or|no|rupees|rs|dollars|percent|pieces|items?|orders?|more|business|working|people|size|pairs?|each|qty|email|e-mail|mail|phone|sms|text|chat|post"
)


CAPITAL: Final = frozenset({"A"})
DIGIT: Final = frozenset({"0"})
FIVE_DIGITS: Final = frozenset({"00000"})
HYPHENS: Final = frozenset({"----"})
_WORD: Final = re.compile(r"\w+")
_FIVE: Final = re.compile(r"\d{5}")


def words(text: str) -> frozenset[str]:
    """The text's words, as `features` has them."""
    return frozenset(_WORD.findall(text.casefold()))


def features(text: str) -> frozenset[str]:
    """Its words in any case, "A" for a capital letter, "0" for a digit, "00000" for five in a row, "----" for four hyphens."""
    marks = {
        "A": any(map(str.isupper, text)),
        "0": any(map(str.isdigit, text)),
        "00000": _FIVE.search(text) is not None,
        "----": text.count("-") >= 4,
    }
    return words(text).union(mark for mark, there in marks.items() if there)


@dataclass(frozen=True, slots=True)
class Rule:
    """One pattern. A `score` under 0.4 counts only when a `context` word stands near.

    `needs` saves time: the pattern is tried where the text has one of the `features` in each of these.
    """

    kind: str
    name: str
    pattern: str
    score: float
    finds: tuple[tuple[str, str], ...]
    spares: tuple[str, ...] = ()
    context: tuple[str, ...] = ()
    needs: tuple[frozenset[str], ...] = ()


RULES: Final[tuple[Rule, ...]] = (
    Rule(
        "ORDER_ID",
        "three groups",
        r"(?<![\w-])(?<!\d )\d{2,4}\s?[ \u2010-\u2015-]\s?\d{5,8}\s?[ \u2010-\u2015-]\s?\d{5,8}(?![\w-]*\d)",
        0.97,
        (
            ("Where is 123-1234567-1234567?", "123-1234567-1234567"),
            ("It says 123-123456-1234567, late again", "123-123456-1234567"),
            ("order 405 1234567 7654321 please", "405 1234567 7654321"),
            ("123 - 1234567 - 1234567", "123 - 1234567 - 1234567"),
        ),
        ("between 2019-2023", "call 24-48 hours before"),
        needs=(DIGIT,),
    ),
    Rule(
        "ORDER_ID",
        "hash",
        r"\#\s?\K(?=[\w-]{0,30}\d{3})[A-Za-z0-9](?:[\w-]{0,30}[A-Za-z0-9])?",
        0.85,
        (("Re #12345", "12345"), ("my order #A-1042 is late", "A-1042"), ("# 9981", "9981")),
        ("you are #1", "#sale today", "#45 of many"),
    ),
    Rule(
        "ORDER_ID",
        "order and hash",
        rf"\b(?i:order|invoice|booking|ticket|case|rma|return|refund)\s?\#\s?\K{_CODE}",
        0.9,
        (("order #a7f3 has not come", "a7f3"),),
        ("order #1 in the world",),
    ),
    Rule(
        "ORDER_ID",
        "prefix",
        r"(?<![\w-])(?:ORD|ORDER|OD|PO|SO|INV|INVOICE|RMA|RET|REF|TKT|TICKET|CASE|ord|inv|rma|tkt)"
        r"[-_/#]?(?=[\w/-]{0,40}\d{3}|\d{2}-)[\w/-]{1,40}(?<=\w)",
        0.9,
        (
            ("ORD-2024-00123 has not come", "ORD-2024-00123"),
            ("see INV/2023/0099", "INV/2023/0099"),
            ("ord_998877?", "ord_998877"),
        ),
        ("in order to", "ORDER now", "a case of 12"),
        needs=(DIGIT,),
    ),
    Rule(
        "ORDER_ID",
        "called an order number",
        r"\b(?:(?i:orders?|invoice|booking|purchase|return|refund|rma|complaint|ticket|case|reference|conf(?:irmation)?|reservation)"
        rf"\s{{0,2}}{_NO}|(?i:(?:ref\s)?pnr))(?!\w){_IS}\K{_CODE}(?!\w)",
        0.92,
        (
            ("order number is AB12345", "AB12345"),
            ("My order id: zx-99-1b.", "zx-99-1b"),
            ("order no. 4521 please", "4521"),
            ("ticket number was 88-1203", "88-1203"),
            ("conf code xk4j7d", "xk4j7d"),
            ("pnr is 6hj2kl", "6hj2kl"),
        ),
        ("what is my order number?", "the order number is missing"),
    ),
    Rule(
        "ORDER_ID",
        "after order",
        rf"\b(?i:order|invoice|rma)\b{_IS}\K(?:[A-Z]{{0,4}}-?\d{{4,20}}|\d{{2,6}}(?:-\d{{2,8}}){{1,4}})(?![\w-]*\d)"
        r"(?!\s?(?i:rs|rupees|inr|usd|eur|dollars?|euros?|pieces|items|units))",
        0.88,
        (("Order 4521 is missing", "4521"), ("my order: AB-20991", "AB-20991"), ("order 12-3456", "12-3456")),
        ("an order 2 days ago", "order 1299 rupees worth", "order 2 shirts"),
        needs=(words("order invoice rma"),),
    ),
    Rule(
        "ORDER_ID",
        "letters and digits near order",
        r"(?<![\w-])[A-Z]{1,5}-?\d{5,20}[A-Z0-9]{0,4}(?![\w-])",
        0.3,
        (("the order reads AB98765 there", "AB98765"), ("ticket I got was QX-44210", "QX-44210")),
        ("the RTX3080 in my order is great", "part AB98765"),
        ("order", "orders", "invoice", "ticket", "booking", "reference"),
    ),
    Rule(
        "TRACKING_NUMBER",
        "carrier formats",
        r"(?<![\w-])(?:1Z[A-Z0-9]{16}|[A-Z]{2}\d{9}[A-Z]{2}|TBA\d{9,12}|J[DJ]\d{14,18})(?![\w-])",
        0.96,
        (("1Z999AA10123456784", "1Z999AA10123456784"), ("it is RR123456785IN", "RR123456785IN")),
        ("JD Sports",),
        needs=(CAPITAL, DIGIT),
    ),
    Rule(
        "TRACKING_NUMBER",
        "called a tracking number",
        rf"\b(?i:tracking|awb|shipment|consignment|waybill|parcel)\s{{0,2}}(?:{_NO}(?!\w))?{_IS}\K{_CODE}(?!\w)",
        0.93,
        (("tracking number is XY-1234-99", "XY-1234-99"), ("AWB: 77120034", "77120034")),
        ("the tracking number is wrong", "tracking says 2 days"),
        needs=(DIGIT, words("tracking awb shipment consignment waybill parcel")),
    ),
    Rule(
        "ACCOUNT_NUMBER",
        "called an account number",
        rf"\b(?i:account|acct|a/c|customer|client|member|membership|loyalty|user|policy|contract|card|voucher|gift\scard)"
        rf"\s{{0,2}}(?:{_NO})(?!\w){_IS}\K{_CODE}(?!\w)",
        0.91,
        (
            ("my account number is 99-4432", "99-4432"),
            ("customer ID: C-8812", "C-8812"),
            ("membership no. gold77", "gold77"),
        ),
        ("is my account number needed?",),
    ),
    Rule(
        "ACCOUNT_NUMBER",
        "of a bank",
        rf"\b(?i:sort\scode|routing|bsb|ifsc|swift|bic|bank\saccount|account)\s?(?:{_NO}(?!\w))?{_IS}\K"
        r"(?:[A-Z]{4}0?[A-Z0-9]{4,7}(?<=\d\w{0,7})|\d[\d-]{4,20}\d)(?!\w)",
        0.9,
        (("sort code 20-00-00 please", "20-00-00"), ("ifsc is HDFC0001234", "HDFC0001234")),
        ("swift delivery", "account since 2019", "SWIFT PAYMENT"),
    ),
    Rule(
        "CREDIT_CARD",
        "called a card number",
        r"\b(?i:card(?:\s(?:number|no\.?))?)\s?(?:(?i:is|ending(?:\s(?:in|with))?)|[:#])\s?"
        r"\K\d{4}(?:[ -]?\d{2,7}){0,4}(?!\d)",
        0.94,
        (("card ending in 4242", "4242"), ("card number: 4111 1111 1111 1112", "4111 1111 1111 1112")),
        ("card is fine",),
    ),
    Rule(
        "PHONE_NUMBER",
        "called a phone number",
        r"\b(?i:phone|mobile|cell|tel|telephone|whatsapp|contact|call\sme(?:\s(?:at|on))?|reach\sme\s(?:at|on))"
        rf"\s{{0,2}}(?:(?i:no\.?|number|num)(?!\w))?{_IS}\K\+?\(?\d[\d ().-]{{4,18}}\d(?!\d)",
        0.93,
        (
            ("my phone number is 555 0199", "555 0199"),
            ("call me at 98765-43210", "98765-43210"),
            ("Tel: 020 7946 0958", "020 7946 0958"),
        ),
        ("phone 2 is broken", "call me at 5"),
        needs=(DIGIT,),
    ),
    Rule(
        "PHONE_NUMBER",
        "with an extension",
        r"(?<![\w-])\+?[\d(][\d ().-]{5,22}\d\s?(?i:x|ext\.?|extension)\s?\d{1,6}(?!\w)",
        0.96,
        (("(555)645-9740x11144", "(555)645-9740x11144"), ("555-645-9740 ext. 12", "555-645-9740 ext. 12")),
        ("2 x 500 g",),
        needs=(DIGIT,),
    ),
    Rule(
        "PHONE_NUMBER",
        "in words",
        r"\b(?i:(?:(?:double|triple)\s)?(?:zero|oh|one|two|three|four|five|six|seven|eight|nine)"
        r"(?:[ ,-]{1,2}|\b)){7,20}",
        0.8,
        (("nine eight seven six five four three two", "nine eight seven six five four three two"),),
        ("one two three go",),
        needs=(words("zero oh one two three four five six seven eight nine"),),
    ),
    Rule(
        "ID_NUMBER",
        "social security",
        r"(?<![\w-])(?<!\d )\d{3}[- ]\d{2}[- ]\d{4}(?![\w-]| \d)",
        0.95,
        (("SSN 460-89-9847", "460-89-9847"),),
        ("2024-01-15",),
        needs=(DIGIT,),
    ),
    Rule(
        "ID_NUMBER",
        "tax and identity cards",
        r"(?<![\w-])(?<!\d )(?:[A-Z]{5}\d{4}[A-Z]|\d{4} \d{4} \d{4}|[A-Z]{2}\d{6}[A-D])(?![\w-]| \d)",
        0.9,
        (("PAN ABCDE1234F", "ABCDE1234F"), ("aadhaar 1234 5678 9012", "1234 5678 9012")),
        ("SKU ABC-12",),
        needs=(DIGIT,),
    ),
    Rule(
        "ID_NUMBER",
        "called an identity number",
        r"\b(?i:passport|licen[cs]e(?:\splate)?|(?:number\s)?plate|ssn|social\ssecurity|aadhaa?r|pan|national\sid|tax\sid|vat|"
        rf"serial|imei|vin)\s{{0,2}}(?:{_NO}(?!\w))?"
        rf"{_IS}\K{_CODE}(?!\w)",
        0.92,
        (
            ("passport number: K1234567", "K1234567"),
            ("driver's license is D-4411-22", "D-4411-22"),
            ("license plate 7abc123", "7abc123"),
            ("serial no sn-8841-kk", "sn-8841-kk"),
        ),
        ("my passport number changed", "the plate is broken"),
        needs=(
            DIGIT,
            words("passport license licence plate ssn social aadhaar aadhar pan national tax vat serial imei vin"),
        ),
    ),
    Rule(
        "CARD_EXPIRY",
        "called the end of a card",
        r"\b(?i:exp(?:iry|ires|iration)?|valid\s(?:thru|until|till))(?!\w)(?:\s(?i:date|on))?(?:\s(?i:is))?\s?[:.]?\s?"
        r"\K(?:0?[1-9]|1[0-2])\s?[/-]\s?(?:20)?\d\d(?![\d/-])",
        0.9,
        (("exp 09/27 on it", "09/27"), ("expires: 4/2031", "4/2031")),
        ("the offer expires 09/27/2026", "exp date is wrong"),
        needs=(DIGIT, words("exp expiry expires expiration valid")),
    ),
    Rule(
        "DATE_OF_BIRTH",
        "called a date of birth",
        rf"\b(?i:d\.?o\.?b\.?|date\sof\sbirth|birth\s?da(?:te|y)|born(?:\son)?)(?!\w)(?i:\s(?:is|was))?\s?[:=-]?\s?\K"
        rf"(?:\d{{1,4}}[/. -]\d{{1,2}}[/. -]\d{{2,4}}|{_MONTH}\s\d{{1,2}}(?i:st|nd|rd|th)?,?\s\d{{4}}"
        rf"|\d{{1,2}}(?i:st|nd|rd|th)?(?i:\sof)?\s{_MONTH},?\s\d{{4}})(?!\w)",
        0.95,
        (
            ("dob 14/03/1987", "14/03/1987"),
            ("I was born on 3rd of May 1990", "3rd of May 1990"),
            ("date of birth: June 2, 1971", "June 2, 1971"),
        ),
        ("her birthday is on 3 May", "a present for his birthday 2024"),
        needs=(DIGIT, words("dob d birth birthday birthdate born")),
    ),
    Rule(
        "PASSWORD",
        "called a password",
        r"\b(?i:password|passcode|passwd|pwd|pass\s?phrase)(?!\w)(?:\s?(?:(?i:is|was)\b|[:=])\s?|\s(?=\S{0,40}\d))\K"
        r"(?!(?i:not|now|the|wrong|incorrect|correct|expired|still|too|a|also|my|required|needed|invalid|so|going|being)\b)[^\s<>\x00]{4,64}(?<![.,;:!?)])",
        0.97,
        (
            ("my password is Tr0ub4dor&3.", "Tr0ub4dor&3"),
            ("pwd: hunter2", "hunter2"),
            ("password hunter22 fails", "hunter22"),
        ),
        ("my password is wrong", "reset my password please", "the password was not accepted"),
        needs=(words("password passcode passwd pwd pass passphrase"),),
    ),
    Rule(
        "PASSWORD",
        "called a code of safety",
        rf"\b(?i:pin(?!\s?code)|cvv2?|cvc|otp|(?:security|verification|access|one[\s-]time)\s(?:code|pin))(?!\w)(?:\s?{_NO}(?!\w))?{_IS}\K\d{{3,8}}(?!\w)",
        0.95,
        (("cvv 913", "913"), ("the pin is 8812", "8812"), ("verification code: 771204", "771204")),
        ("pin 2 is bent", "an otp was sent"),
        needs=(words("pin cvv cvv2 cvc otp security verification access one"),),
    ),
    Rule(
        "NUMBER",
        "code with five digits",
        r"(?<![\w-])(?=[\w-]{0,40}\d{5})(?=[\w-]{0,40}[A-Za-z])(?!\d[\d-]*-[A-Za-z]{3,}(?!\w))"
        r"[A-Za-z0-9][\w-]{4,40}(?<=\w)",
        0.55,
        (("it says QX88120B on it", "QX88120B"), ("ref zz-12345-y", "zz-12345-y")),
        ("iPhone-15 and WH-1000",),
        needs=(FIVE_DIGITS,),
    ),
    Rule(
        "URL",
        "with a path or user",
        r"(?<!\w)(?:(?i:https?|ftp)://|(?i:www\.))[^\s<>\"‹›\x00]{3,500}(?<![.,;:!?)\]])",
        0.96,
        (
            ("see https://shop.example/u/8812?x=1.", "https://shop.example/u/8812?x=1"),
            ("www.example.com/me", "www.example.com/me"),
        ),
        ("on amazon.com",),
    ),
    Rule(
        "URL",
        "a site's page",
        r"(?<![\w@./-])(?:[A-Za-z0-9-]{1,40}\.){1,3}(?i:com|net|org|me|io|co|app|dev|in|uk|de|fr|es|it|nl|be|gg|tv|ly|link|shop|store|info|test|example)"
        r"/[^\s<>\"‹›\x00]{2,300}(?<![.,;:!?)\]])",
        0.9,
        (("fb is facebook.com/anouk.dv", "facebook.com/anouk.dv"), ("paypal.me/luigiv please", "paypal.me/luigiv")),
        ("amazon.com / ebay.com", "and/or", "amazon.in/"),
    ),
    Rule(
        "USERNAME",
        "called a user name",
        r"\b(?i:user\s?name|login|handle|screen\sname|twitter|instagram)(?:\sid)?\s?(?:(?i:is|was)\b|[:=])\s?\K@?[\w.-]{3,40}(?<=\w)",
        0.85,
        (("my username is jo_doe", "jo_doe"), ("login: kay.77", "kay.77")),
        ("username please",),
    ),
    Rule(
        "USERNAME",
        "at handle",
        r"(?<![\w@.])@(?=[A-Za-z_])\w{3,30}\b",
        0.7,
        (("dm @jo_doe99 now", "@jo_doe99"),),
        ("2 shirts @500", "meet @ noon"),
    ),
    Rule(
        "ADDRESS",
        "house and street",
        r"(?<![\w-])\d{1,6}[A-Za-z]?(?:[-/]\d{1,4}[A-Za-z]?)?,?\s"
        rf"(?:(?!(?i:{_NO_STREET})\b)[^\W_][\w'’.-]{{1,20}}\s){{1,4}}{_STREETS}\b\.?"
        r"(?:,?\s(?i:apt|apartment|suite|unit|flat|floor|\#)\.?\s?\w{1,6}\b)?",
        0.8,
        (
            ("it is 12 Baker Street, please", "12 Baker Street"),
            ("home is 221B Old Mill Rd", "221B Old Mill Rd"),
            ("to 4500 Oak Avenue, Apt 12", "4500 Oak Avenue, Apt 12"),
        ),
        ("a street nearby", "2 days on the road", "10 minutes away"),
        needs=(DIGIT,),
    ),
    Rule(
        "ADDRESS",
        "house and the street",
        r"(?<![\w$€£.-])\d{1,4}[A-Za-z]?,?\s(?i:the)\s(?i:crescent|green|square|close|terrace|avenue|grove|mews|parade|lane|gardens|"
        r"drive|oaks|elms|paddocks|maltings|cottages?|courtyard)(?!\w)",
        0.8,
        (("my new place is 3 the crescent, Oldtown", "3 the crescent"),),
        ("the 2nd in the green one",),
        needs=(DIGIT,),
    ),
    Rule(
        "ADDRESS",
        "lives on a number, written small",
        r"\b(?i:(?:i|we|he|she|they)\s(?:live|stay|reside)s?\s(?:at|on)|pick(?:ed)?\s(?:it|me|us|them|this|that)?\s?up\s(?:from|at)|"
        r"drop(?:ped)?\s(?:it|me|us|them|this|that)?\s?(?:off\s)?at)\s\K\d{1,6}[A-Za-z]?\s"
        rf"(?!(?i:{_NO_STREET}|acres?|floors?|kids|campus|budget|sites?)\b)[^\W\d_]{{3,24}}(?!\w)",
        0.7,
        (("i live on 88 sycamore", "88 sycamore"), ("can you pick me up from 7 thornhill", "7 thornhill")),
        ("we live on 2 acres", "pick it up at 5 pm"),
        needs=(DIGIT,),
    ),
    Rule(
        "ADDRESS",
        "door",
        r"\b(?i:apt|apartment|suite|flat|unit|p\.?\s?o\.?\s?box|house\s(?:no\.?|number)|plot(?:\sno\.?)?|room)\.?\s?\#?\s?"
        r"\d{1,5}[A-Za-z]?\b|\b(?:PSC|Unit|CMR)\s\d{1,5},?\s(?i:box)\s\d{1,5}",
        0.75,
        (("Suite 380", "Suite 380"), ("leave at Flat 4B", "Flat 4B"), ("PO Box 77", "PO Box 77")),
        ("a suite of tools",),
        needs=(words("apt apartment suite flat unit p po pobox house plot room"),),
    ),
    Rule(
        "ADDRESS",
        "called an address",
        r"\b(?i:(?:my|our|the|new|correct|delivery|shipping|billing|home|postal)\saddress)\s?(?:(?i:is|was)\b|[:=])\s?\K"
        r"(?=[^.!?\n]{0,80}\d)[^!?\n.]{6,120}(?=[.!?\n]|$)",
        0.78,
        (("My address is 5 The Green, Oldtown", "5 The Green, Oldtown"),),
        ("my address is wrong",),
    ),
    Rule(
        "ADDRESS",
        "labelled line",
        r"^\s{0,4}(?i:address|street\saddress|ship\sto|deliver\sto|bill\sto)\s?:\s{0,6}\K[^\n]{4,120}(?:\n[^\n]{2,40}){0,3}",
        0.62,
        (("Address: 5 Elm, Oldtown\nUtopia", "5 Elm, Oldtown\nUtopia"),),
        ("the address: none",),
    ),
    Rule(
        "ADDRESS",
        "lives or goes to a number",
        r"\b(?i:live[sd]?\s(?:at|on|in)|resid(?:e|es|ing)\sat|located\sat|offices?\s(?:is|are)\sat|(?:deliver|ship|send|mail|return)"
        r"(?:ed|ped|s)?\s(?:it\s|this\s|them\s)?to|arrived?\sat|moved\sto|meet\s(?:me|you|us)\sat|"
        r"(?:his|her|my|our|the|new)\saddress(?:\s(?:is|to|with))?|new\sone\sto)\s?:?\s"
        rf"\K\d{{1,6}}[A-Za-z]?,?\s(?!(?i:{_NO_STREET})\b)(?=[^\n.!?]{{0,60}}\p{{Lu}})(?:[^\n.!?]|(?<=\b(?i:apt|st|rd|no|ave|dr))\.){{3,70}}"
        r"(?:\n[^\n.!?]{2,40}){0,3}",
        0.61,
        (("please send it to 14 Alte Gasse, Oldtown", "14 Alte Gasse, Oldtown"),),
        ("ship to 2 people", "I live in 2 places"),
        needs=(DIGIT,),
    ),
    Rule(
        "ADDRESS",
        "street words of other languages",
        r"(?<!\w)(?:\d{1,6}[A-Za-z]?,?\s){0,2}"
        r"(?:(?:[Rr]ue|Via|Viale|[Cc]alle|[Aa]venida|[Pp]aseo|[Rr]ua|Plaza|[Pp]iazza|[Vv]icolo|[Cc]arrer|[Ss]trada|"
        r"stra\u00dfe|ulica|estrada|camino|boulevard|chemin|all\u00e9e|quai)\s(?:(?i:de\sla|de|del|della|des|du|do|da|la|le|"
        r"les|l'|al|el)\s){0,2}\p{Lu}[\w'’.-]{1,24}(?:\s\p{Lu}[\w'’.-]{1,24}){0,2}(?:,?\s\d{1,5})?"
        r"|\p{Lu}[\w'’-]{1,24}(?:stra\u00dfe|strasse|gasse|weg|platz|straat|laan|plein|gade|vej|v\u00e4gen|gatan|tie|katu)"
        r"\s\d{1,5}[a-z]?)(?!\w)",
        0.76,
        (("an 12 Rue de la Paix geschickt", "12 Rue de la Paix"), ("Lindenstraße 14b", "Lindenstraße 14b")),
        ("via email", "via SMS or Place Order"),
        needs=(CAPITAL,),
    ),
    Rule(
        "ADDRESS",
        "number, words, door",
        r"(?<![\w.$-])\d{1,6}[A-Za-z]?,?\s(?:(?!(?i:"
        + _NO_STREET
        + r")\b)[^\W_][\w.'’/-]{0,24},?\s{1,3}){1,6}(?:\d{1,5}[A-Za-z]?\.?,?\s{1,3})?"
        r"(?i:apt|apartment|suite|flat)\.?\s?\#?\s?\d{1,5}[A-Za-z]?\b",
        0.79,
        (
            ("to 64 R São Pedro 2 Suite 242, ok", "64 R São Pedro 2 Suite 242"),
            ("91 kirkeveien apt 4", "91 kirkeveien apt 4"),
        ),
        ("2 nights in a suite", "order 2 in flat pack"),
        needs=(DIGIT,),
    ),
    Rule(
        "ADDRESS",
        "military",
        r"(?<!\w)(?i:(?:usnv|uss|usns|uscgc|psc|cmr|unit)\s[\w'’-]{1,24}(?:,?\sbox\s\d{1,5})?,?\s{1,3}(?:fpo|apo|dpo),?\s(?:aa|ae|ap)\s\d{5})(?!\w)",
        0.9,
        (
            ("send to USS Melverd\nFPO AE 12382", "USS Melverd\nFPO AE 12382"),
            ("unit 77 box 0219\ndpo ap 51065", "unit 77 box 0219\ndpo ap 51065"),
        ),
        ("unit testing in ap 5",),
    ),
    Rule(
        "ADDRESS",
        "lives on a street",
        r"\b(?i:(?:live|lives|living|lived|stay|staying|reside|resides|located|moved)\s(?:on|to|at|off|from))\s\K(?!(?i:the|a|an|my|our|your|this|that|"
        r"another|same)\b)(?:[^\W\d_][\w'’-]{1,20}\s){1,3}(?i:street|avenue|ave|road|rd|lane|drive|blvd|boulevard|terrace|crescent|court)(?!\w)",
        0.7,
        (("i live on elderberry road now", "elderberry road"),),
        ("we live on the same street", "living on my street"),
    ),
    Rule(
        "ADDRESS",
        "corner",
        r"\b(?i:(?:the\s)?corner\sof)\s\K[^\n.?!,]{2,40}?(?:\.\s[^\n.?!,]{2,40}?)?\s(?i:and|&)\s[^\W\d_][\w'’-]{1,24}(?:\s[^\W_][\w'’-]{1,24}){0,2}",
        0.7,
        (("at the corner of Elm Rd and Low Street", "Elm Rd and Low Street"),),
        ("around the corner",),
    ),
    Rule(
        "ADDRESS",
        "number, words, number",
        r"(?<![\w.$€£-])\d{1,6}\s(?:(?!(?i:"
        + _NO_STREET
        + r")\b)[^\W\d_][\w.'’-]{0,24}\s){1,4}\d{1,4}[A-Za-z]?(?=\s?,\s?[^\W\d_]|\s*\n[ \t>?*]*[^\W\d_])",
        0.66,
        (("to 33 Melverd 2, Oldtown", "33 Melverd 2"), ("It is 98 tylova 1036, recco", "98 tylova 1036")),
        ("I bought 2 shirts size 4, please help", "order 2 pairs of 3, thanks"),
        needs=(DIGIT,),
    ),
    Rule(
        "ADDRESS",
        "street and number",
        r"(?<![\w-])(?i:ul|av|avda|c/|r(?=\.)|rua|calle|via|rue|str|strada|ulica|calea|bd|bvd|blvd|pza|plaza)\.?\s(?:(?!(?i:"
        + _NO_STREET
        + r")\b)[^\W\d_][\w.'’-]{0,24}\s){1,5}\d{1,5}[A-Za-z]?(?!\w)(?!\s(?i:days?|hours?|weeks?|minutes|items))"
        r"|(?<![\w-])\p{L}[\w'’-]{2,24}\s(?i:strasse|straße|str|gate|gata|gatan|vej|vei|veien|tie|katu|utca|u|ut|laan|straat|rakpart|ter|cesta|ulice|n[aá]b(?:re[zž]ie|[rř]e[zž][ií])?|terrasse)\.?\s\d{1,5}[A-Za-z]?(?!\w)",
        0.76,
        (
            ("on ul. Niska 94 now", "ul. Niska 94"),
            ("Grosse Feld Strasse 44", "Feld Strasse 44"),
            ("Bem utca 12", "Bem utca 12"),
        ),
        ("via email in 2 days", "see you at gate 4", "they r falling apart after 1 wash"),
        needs=(
            DIGIT,
            words(
                "ul av avda c r rua calle via rue str strada ulica calea bd bvd blvd pza plaza strasse straße gate gata gatan vej vei "
                "veien tie katu utca u ut laan straat rakpart ter cesta ulice terrasse nab náb nabrezi nabrezie nábrežie nábřeží"
            ),
        ),
    ),
    Rule(
        "ADDRESS",
        "postcode",
        r"(?<![\w-])(?:[A-Z]{1,2}\d[A-Z\d]? \d[A-Z]{2}|[A-Z]\d[A-Z] \d[A-Z]\d)(?![\w-])",
        0.8,
        (("SW1A 1AA", "SW1A 1AA"), ("Ottawa K1A 0B1", "K1A 0B1")),
        ("A4 paper", "size XL 2"),
        needs=(CAPITAL, DIGIT),
    ),
    Rule(
        "PERSON",
        "says a name",
        r"(?:\b(?i:my|the|his|her|our|their|full|first|last|maiden|middle|sur|billing|account|holder'?s?|customer|(?:son|daughter|"
        r"kid|child|wife|husband|partner|friend|brother|sister|mother|father|mom|mum|dad|boss)['’]?s)\s?|^\s{0,4})"
        r"(?i:names?)\s?"
        rf"(?:(?i:is|was|'?s)\b|[:=])\s{{0,4}}(?i:(?:mr|mrs|ms|dr)\.?\s)?\K{_NAME}(?:\s{_NAME}){{0,2}}",
        0.9,
        (
            ("my name is priya sharma", "priya sharma"),
            ("Full name: Jo O'Neil.", "Jo O'Neil"),
            ("my son's name is caspian", "caspian"),
        ),
        ("what is my name?", "the name is wrong"),
    ),
    Rule(
        "PERSON",
        "says a name in another language",
        r"\b(?i:je\sm['’]appelle|me\sllamo|mi\snombre\ses|mein\sname\sist|ich\shei(?:ß|ss)e|mijn\snaam\sis|mi\schiamo|"
        r"(?:o\s)?meu\snome\s[eé]|me\schamo|jag\sheter|nazywam\ssi[eę]|mera\sna?am|nama\ssaya)\s"
        rf"\K{_NAME}(?:\s{_BIG_NAME}){{0,2}}|\b(?i:ich\sbin|ik\sben|ako\ssi|soy|sono)\s\K{_BIG_NAME}(?:\s{_BIG_NAME}){{0,2}}",
        0.75,
        (("mein Name ist Jürgen Vogt", "Jürgen Vogt"), ("me llamo Itziar Arana", "Itziar Arana")),
        ("ich bin da",),
        needs=(
            words(
                "appelle llamo nombre mein heiße heisse naam chiamo nome chamo heter nazywam mera nama bin ben ako soy sono"
            ),
        ),
    ),
    Rule(
        "PERSON",
        "spelled out with hyphens",
        r"(?<![\w-])(?:\p{L}-){4,24}\p{L}(?![\w-])",
        0.7,
        (("that's d-i-n-e-s-h", "d-i-n-e-s-h"),),
        ("a-b-c",),
        needs=(HYPHENS,),
    ),
    Rule(
        "PERSON",
        "said to be spelled",
        r"\b(?i:names?|spelled|spelt|spell|spells)\s(?i:(?:is|it|as)\s)?\K(?:\p{L} ){3,24}\p{L}(?![\w-])",
        0.7,
        (("last name k o w a l s k i", "k o w a l s k i"),),
        ("do it a s a p",),
        needs=(words("name names spelled spelt spell spells"),),
    ),
    Rule(
        "PERSON",
        "introduces",
        rf"\b(?i:i\sam|i'?m|this\sis|myself|call\sme|i’m|name'?s|it'?s)\s\K{_BIG_NAME}(?:\s{_BIG_NAME}){{0,2}}"
        r"(?=\s(?:here|from|calling|and|speaking)\b|\s?[,.!?\n(]|\s?$)",
        0.7,
        (("Hi, I'm Tomasz, my parcel is late", "Tomasz"), ("This is Ana Ruiz from Lima", "Ana Ruiz")),
        ("I'm Unhappy.", "this is Unacceptable!", "This is Great"),
        needs=(CAPITAL,),
    ),
    Rule(
        "PERSON",
        "title",
        rf"\b(?:(?:[Mm]rs?|[Mm]s|[Mm]iss|[Dd]r|[Pp]rof|[Ss]ir|[Mm]adam)\.?\s\K{_BIG_NAME}(?:\s{_BIG_NAME}){{0,2}}"
        rf"|(?i:mrs?)\.?\s\K{_NAME}|(?i:ms|dr|prof)\.\s\K{_NAME})",
        0.88,
        (("Dear Mr. Okonkwo, thanks", "Okonkwo"), ("Dr Lena Vogt wrote", "Lena Vogt"), ("ask mr. vogt", "vogt")),
        ("Dear sir, hello", "Sir This is bad"),
        needs=(words("mr mrs ms miss dr prof sir madam"),),
    ),
    Rule(
        "PERSON",
        "signs or greets",
        rf"(?:^|(?<=[.!?\n]\s?))(?i:(?:(?:kind|best|warm)?\s?regards|sincerely|cheers|yours(?:\struly)?|dear|hi|hello|hey|thanks|"
        rf"thank\syou)),?\s{{1,2}}\K{_BIG_NAME}(?:\s{_BIG_NAME}){{0,2}}(?=\s?[,.!\n-]|\s?$)",
        0.65,
        (("Hello Mirela, how can I help?", "Mirela"), ("It broke.\nRegards,\nJonas Weld", "Jonas Weld")),
        ("Hello There!", "Thanks Again.", "Hi Team,"),
        needs=(CAPITAL,),
    ),
)


def own_order_rules(patterns: list[str]) -> tuple[Rule, ...]:
    """The shop's own order-number patterns, from settings."""
    return tuple(
        Rule("ORDER_ID", f"the shop's own {i}", pattern, 0.99, finds=()) for i, pattern in enumerate(patterns, 1)
    )
