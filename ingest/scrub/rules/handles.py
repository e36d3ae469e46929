"""Rules for links and user names."""

from __future__ import annotations

from typing import Final

from ingest.scrub.rules.rule import PatternRule

RULES: Final[tuple[PatternRule, ...]] = (
    PatternRule(
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
    PatternRule(
        "URL",
        "a site's page",
        r"(?<![\w@./-])(?:[A-Za-z0-9-]{1,40}\.){1,3}(?i:com|net|org|me|io|co|app|dev|in|uk|de|fr|es|it|nl|be|gg|tv|ly|link|shop|store|info|test|example)"
        r"/[^\s<>\"‹›\x00]{2,300}(?<![.,;:!?)\]])",
        0.9,
        (("fb is facebook.com/anouk.dv", "facebook.com/anouk.dv"), ("paypal.me/luigiv please", "paypal.me/luigiv")),
        ("amazon.com / ebay.com", "and/or", "amazon.in/"),
    ),
    PatternRule(
        "USERNAME",
        "called a user name",
        r"\b(?i:user\s?name|login|handle|screen\sname|twitter|instagram)(?:\sid)?\s?(?:(?i:is|was)\b|[:=])\s?\K@?[\w.-]{3,40}(?<=\w)",
        0.85,
        (("my username is jo_doe", "jo_doe"), ("login: kay.77", "kay.77")),
        ("username please",),
    ),
    PatternRule(
        "USERNAME",
        "at handle",
        r"(?<![\w@.])@(?=[A-Za-z_])\w{3,30}\b",
        0.7,
        (("dm @jo_doe99 now", "@jo_doe99"),),
        ("2 shirts @500", "meet @ noon"),
    ),
)
