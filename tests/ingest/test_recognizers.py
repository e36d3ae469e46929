"""Every pattern finds its own examples, and leaves its counter-examples alone."""

from __future__ import annotations

import pytest

from ingest.scrub.rules.recognizers import RULES
from ingest.scrub.rules.rule import CAPITAL, PatternRule, features
from ingest.scrub.scrubber import PresidioScrubber
from shoptalk.domain import Message

FINDS = [pytest.param(r, text, value, id=f"{r.kind}-{text[:30]}") for r in RULES for text, value in r.finds]
SPARES = [pytest.param(r, text, id=f"{r.kind}-{text[:30]}") for r in RULES for text in r.spares]


@pytest.mark.parametrize(("rule", "text", "value"), FINDS)
def test_finds(scrubber: PresidioScrubber, rule: PatternRule, text: str, value: str) -> None:
    scrubbed = scrubber.scrub([Message("user", text)])
    assert scrubbed.texts[0] == text.replace(value, f"<{rule.kind}_1>")
    assert scrubbed.vault.fill(scrubbed.texts[0]) == text


@pytest.mark.parametrize(("rule", "text"), SPARES)
def test_spares(scrubber: PresidioScrubber, rule: PatternRule, text: str) -> None:
    assert rule.kind not in scrubber.scrub([Message("user", text)]).counts[0]


@pytest.mark.parametrize(("rule", "text", "value"), FINDS)
def test_a_rule_is_tried_where_it_finds(rule: PatternRule, text: str, value: str) -> None:
    for shown in (text, text.upper() if rule.needs and CAPITAL not in rule.needs else text):
        assert not any(features(shown).isdisjoint(needed) for needed in rule.needs)


def test_features() -> None:
    has = features("Straße 12345, a-b-c-d-e")
    assert {"strasse", "A", "0", "00000", "----", "12345"} <= has
    assert features("via e-mail") == {"via", "e", "mail"}


@pytest.mark.parametrize(
    "text",
    [
        "The Kindle costs ₹1,299 or $49.99, say 1299 rupees; 24-48 hours in Mumbai.",
        "iPhone 15 Pro and WH-1000XM5, 2 pieces at 50% off since 2023-2024",
        "It came on 12/05/2023 at 10:30, not on 2024-01-15 10:45!",
        "Prices: 49.99 59.99 69.99; size 8.5, 5'11\", 100%",
        "👩‍👩‍👧 great ❤️… café, ½ price™ — naïve 日本語 हिन्दी",
        "",
        " \n ",
    ],
)
def test_ordinary_text_comes_out_unchanged(scrubber: PresidioScrubber, text: str) -> None:
    assert scrubber.scrub([Message("user", text)]).texts == (text,)


@pytest.mark.parametrize(
    "value",
    [
        "jo.doe+x@mail.invalid", "jo@shop.example", "JO_1@A.TEST", "name at example dot com", "jo [at] mail.example",
        "jo(at)mail(dot)example", "jo dot doe at example dot co dot uk", "pay2jo@okbank",
        "+1 (555) 123-4567", "+44 20 7946 0958", "020.7946.0958", "98765 43210", "+91-98765-43210", "555-0199-22",
        "(0)30 / 123 45 67", "01 23 45 67 89", "4111 1111 1111 1111", "4111-1111-1111-1112", "3782 822463 10005",
        "4111.1111.1111.1111", "123456", "１２３４５６", "१२३४५६७", "1\u200b2\u200b3\u200b4\u200b5",
        "DE89 3704 0044 0532 0130 00",
        "192.168.10.22", "ZZ~ab7x",
    ],
)  # fmt: skip
@pytest.mark.parametrize("frame", ["{}", "my thing is {} ok?", "({})", "see:{}, thanks", "x\n{}\ny"])
def test_planted_values_go(scrubber: PresidioScrubber, value: str, frame: str) -> None:
    text = scrubber.scrub([Message("user", frame.format(value))]).final[0]
    assert value not in text
    assert not any(c.isdigit() for c in text.replace("_1>", ">").replace("_2>", ">").replace("_3>", ">"))
    assert "@" not in text
    assert not scrubber.remaining(text)
