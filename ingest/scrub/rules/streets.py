"""Rules for postal addresses."""

from __future__ import annotations

from typing import Final

from ingest.scrub.rules.rule import CAPITAL, DIGIT, PatternRule, words

_STREETS: Final = (
    r"(?i:street|st|road|rd|avenue|ave|lane|ln|drive|dr|boulevard|blvd|court|ct|way|place|pl|square|sq|terrace|"
    r"close|crescent|parkway|pkwy|highway|hwy|circle|trail|alley|nagar|marg|colony|layout|sector|strasse|straße|"
    r"mews|grove|gardens|quay|wharf|villas)"
)
_NO_STREET: Final = (
    r"days?|weeks?|months?|hours?|minutes?|mins?|times?|on|in|at|by|to|of|for|from|the|a|an|is|was|my|your|this|that|"
    r"and|or|no|rupees|rs|dollars|percent|pieces|items?|orders?|more|business|working|people|size|pairs?|each|qty|email|e-mail|mail|phone|sms|text|chat|post"
)

RULES: Final[tuple[PatternRule, ...]] = (
    PatternRule(
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
    PatternRule(
        "ADDRESS",
        "house and the street",
        r"(?<![\w$€£.-])\d{1,4}[A-Za-z]?,?\s(?i:the)\s(?i:crescent|green|square|close|terrace|avenue|grove|mews|parade|lane|gardens|"
        r"drive|oaks|elms|paddocks|maltings|cottages?|courtyard)(?!\w)",
        0.8,
        (("my new place is 3 the crescent, Oldtown", "3 the crescent"),),
        ("the 2nd in the green one",),
        needs=(DIGIT,),
    ),
    PatternRule(
        "ADDRESS",
        "lives on a number, in lowercase",
        r"\b(?i:(?:i|we|he|she|they)\s(?:live|stay|reside)s?\s(?:at|on)|pick(?:ed)?\s(?:it|me|us|them|this|that)?\s?up\s(?:from|at)|"
        r"drop(?:ped)?\s(?:it|me|us|them|this|that)?\s?(?:off\s)?at)\s\K\d{1,6}[A-Za-z]?\s"
        rf"(?!(?i:{_NO_STREET}|acres?|floors?|kids|campus|budget|sites?)\b)[^\W\d_]{{3,24}}(?!\w)",
        0.7,
        (("i live on 88 sycamore", "88 sycamore"), ("can you pick me up from 7 thornhill", "7 thornhill")),
        ("we live on 2 acres", "pick it up at 5 pm"),
        needs=(DIGIT,),
    ),
    PatternRule(
        "ADDRESS",
        "door",
        r"\b(?i:apt|apartment|suite|flat|unit|p\.?\s?o\.?\s?box|house\s(?:no\.?|number)|plot(?:\sno\.?)?|room)\.?\s?\#?\s?"
        r"\d{1,5}[A-Za-z]?\b|\b(?:PSC|Unit|CMR)\s\d{1,5},?\s(?i:box)\s\d{1,5}",
        0.75,
        (("Suite 380", "Suite 380"), ("leave at Flat 4B", "Flat 4B"), ("PO Box 77", "PO Box 77")),
        ("a suite of tools",),
        needs=(words("apt apartment suite flat unit p po pobox house plot room"),),
    ),
    PatternRule(
        "ADDRESS",
        "called an address",
        r"\b(?i:(?:my|our|the|new|correct|delivery|shipping|billing|home|postal)\saddress)\s?(?:(?i:is|was)\b|[:=])\s?\K"
        r"(?=[^.!?\n]{0,80}\d)[^!?\n.]{6,120}(?=[.!?\n]|$)",
        0.78,
        (("My address is 5 The Green, Oldtown", "5 The Green, Oldtown"),),
        ("my address is wrong",),
        needs=(DIGIT,),
    ),
    PatternRule(
        "ADDRESS",
        "labelled line",
        r"^\s{0,4}(?i:address|street\saddress|ship\sto|deliver\sto|bill\sto)\s?:\s{0,6}\K[^\n]{4,120}(?:\n[^\n]{2,40}){0,3}",
        0.62,
        (("Address: 5 Elm, Oldtown\nUtopia", "5 Elm, Oldtown\nUtopia"),),
        ("the address: none",),
    ),
    PatternRule(
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
    PatternRule(
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
    PatternRule(
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
    PatternRule(
        "ADDRESS",
        "military",
        r"(?<!\w)(?i:(?:usnv|uss|usns|uscgc|psc|cmr|unit)\s[\w'’-]{1,24}(?:,?\sbox\s\d{1,5})?,?\s{1,3}(?:fpo|apo|dpo),?\s(?:aa|ae|ap)\s\d{5})(?!\w)",
        0.9,
        (
            ("send to USS Melverd\nFPO AE 12382", "USS Melverd\nFPO AE 12382"),
            ("unit 77 box 0219\ndpo ap 51065", "unit 77 box 0219\ndpo ap 51065"),
        ),
        ("unit testing in ap 5",),
        needs=(DIGIT,),
    ),
    PatternRule(
        "ADDRESS",
        "lives on a street",
        r"\b(?i:(?:live|lives|living|lived|stay|staying|reside|resides|located|moved)\s(?:on|to|at|off|from))\s\K(?!(?i:the|a|an|my|our|your|this|that|"
        r"another|same)\b)(?:[^\W\d_][\w'’-]{1,20}\s){1,3}(?i:street|avenue|ave|road|rd|lane|drive|blvd|boulevard|terrace|crescent|court)(?!\w)",
        0.7,
        (("i live on elderberry road now", "elderberry road"),),
        ("we live on the same street", "living on my street"),
    ),
    PatternRule(
        "ADDRESS",
        "corner",
        r"\b(?i:(?:the\s)?corner\sof)\s\K[^\n.?!,]{2,40}?(?:\.\s[^\n.?!,]{2,40}?)?\s(?i:and|&)\s[^\W\d_][\w'’-]{1,24}(?:\s[^\W_][\w'’-]{1,24}){0,2}",
        0.7,
        (("at the corner of Elm Rd and Low Street", "Elm Rd and Low Street"),),
        ("around the corner",),
    ),
    PatternRule(
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
    PatternRule(
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
    PatternRule(
        "ADDRESS",
        "postcode",
        r"(?<![\w-])(?:[A-Z]{1,2}\d[A-Z\d]? \d[A-Z]{2}|[A-Z]\d[A-Z] \d[A-Z]\d)(?![\w-])",
        0.8,
        (("SW1A 1AA", "SW1A 1AA"), ("Ottawa K1A 0B1", "K1A 0B1")),
        ("A4 paper", "size XL 2"),
        needs=(CAPITAL, DIGIT),
    ),
)
