"""Every compiled pattern is looked at by the ambiguity checker; what it cannot decide counts as a finding."""

from __future__ import annotations

import re

import pytest

from bench.ambiguity import finding
from bench.patterns import Found, every

pytestmark = pytest.mark.slow

# what is found in them, and why that is fine; test_patterns pumps these like all others
KNOWN = {
    "rule CREDIT_CARD: called a card number": "four groups of at most seven digits: at most 1,300 ways",
    "ingest.scrub.context.answers._MAIL": "'dot' stands at a word's beginning, which the checker does not read",
}


def test_no_pattern_can_match_in_many_ways() -> None:
    found = {each.name: why for each in every() if (why := finding(each))}
    assert set(found) == set(KNOWN), found


@pytest.mark.parametrize(
    ("pattern", "is_found"),
    [
        (r"(?:a|a)*b", True),
        (r"(?:\d+[ -]?)+x", True),
        (r"(?:x+x+)+y", True),
        (r"\s*,?\s*\n", True),
        (
            r"(?:(?:19|20)\d\d|(?:19|20)\d\d-\d\d-\d\d|\d\d-\d\d-(?:19|20)\d\d)(?:-(?:\d{4}|\d{4}-\d\d-\d\d|\d\d-\d\d-\d{4}))*",
            True,
        ),
        (r"(?=(?:x+x+)+y)", True),
        (r"(?:ab?c)*", False),
        (r"(?:a|b)+", False),
        (r"(?>\s*)x\s*y", False),
        (r"\w+(?:-\w+)*", False),
        (r"(?:[ -]?\d{4}){2,7}", False),
        (r"(?>(?:here|here is|is) *)*", False),
    ],
)
def test_the_checker_tells_them_apart(pattern: str, is_found: bool) -> None:
    assert (finding(Found("tried", re.compile(pattern))) is not None) == is_found
