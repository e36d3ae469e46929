r"""The table of our own patterns, each with sentences it must find something in and sentences it must leave alone.

The examples are also the tests. Patterns are for the `regex` module: `\K` drops what was matched so far, so that
only the value is replaced. Plain runs of digits and e-mail addresses are for `ingest.scrub.rules.net`; a pattern here
gives a value its proper type or finds what has letters. Knows nothing of Presidio, nor of other messages.
"""

from __future__ import annotations

from typing import Final

from ingest.scrub.rules import accounts, handles, orders, people, streets
from ingest.scrub.rules.rule import PatternRule

RULES: Final[tuple[PatternRule, ...]] = (
    *orders.RULES, *accounts.RULES, *handles.RULES, *streets.RULES, *people.RULES,
)  # fmt: skip


def own_order_rules(patterns: list[str]) -> tuple[PatternRule, ...]:
    """Return rules for the shop's own order-number patterns, from settings."""
    return tuple(
        PatternRule("ORDER_ID", f"the shop's own {i}", pattern, 0.99, finds=()) for i, pattern in enumerate(patterns, 1)
    )
