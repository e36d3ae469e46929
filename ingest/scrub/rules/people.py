"""Rules for names that somebody says, signs with or is addressed by."""

from __future__ import annotations

from typing import Final

from ingest.scrub.rules.rule import CAPITAL, HYPHENS, PatternRule, words

_NAME: Final = r"[^\W\d_](?:[^\W\d_]|['’.-](?=[^\W\d_])){0,25}"
_BIG_NAME: Final = r"(?=\p{Lu})" + _NAME

RULES: Final[tuple[PatternRule, ...]] = (
    PatternRule(
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
    PatternRule(
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
    PatternRule(
        "PERSON",
        "spelled out with hyphens",
        r"(?<![\w-])(?:\p{L}-){4,24}\p{L}(?![\w-])",
        0.7,
        (("that's d-i-n-e-s-h", "d-i-n-e-s-h"),),
        ("a-b-c",),
        needs=(HYPHENS,),
    ),
    PatternRule(
        "PERSON",
        "said to be spelled",
        r"\b(?i:names?|spelled|spelt|spell|spells)\s(?i:(?:is|it|as)\s)?\K(?:\p{L} ){3,24}\p{L}(?![\w-])",
        0.7,
        (("last name k o w a l s k i", "k o w a l s k i"),),
        ("do it a s a p",),
        needs=(words("name names spelled spelt spell spells"),),
    ),
    PatternRule(
        "PERSON",
        "introduces",
        rf"\b(?i:i\sam|i'?m|this\sis|myself|call\sme|i’m|name'?s|it'?s)\s\K{_BIG_NAME}(?:\s{_BIG_NAME}){{0,2}}"
        r"(?=\s(?:here|from|calling|and|speaking)\b|\s?[,.!?\n(]|\s?$)",
        0.7,
        (("Hi, I'm Tomasz, my parcel is late", "Tomasz"), ("This is Ana Ruiz from Lima", "Ana Ruiz")),
        ("I'm Unhappy.", "this is Unacceptable!", "This is Great"),
        needs=(CAPITAL,),
    ),
    PatternRule(
        "PERSON",
        "title",
        rf"\b(?:(?:[Mm]rs?|[Mm]s|[Mm]iss|[Dd]r|[Pp]rof|[Ss]ir|[Mm]adam)\.?\s\K{_BIG_NAME}(?:\s{_BIG_NAME}){{0,2}}"
        rf"|(?i:mrs?)\.?\s\K{_NAME}|(?i:ms|dr|prof)\.\s\K{_NAME})",
        0.88,
        (("Dear Mr. Okonkwo, thanks", "Okonkwo"), ("Dr Lena Vogt wrote", "Lena Vogt"), ("ask mr. vogt", "vogt")),
        ("Dear sir, hello", "Sir This is bad"),
        needs=(words("mr mrs ms miss dr prof sir madam"),),
    ),
    PatternRule(
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
