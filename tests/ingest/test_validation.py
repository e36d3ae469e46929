"""Each check finds what it is for and names the field; ordinary conversations pass them all."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ingest.inbox.validation import CheckedConversation, CheckedTurn, Validator
from shoptalk.clock import SystemTime
from tests.clocks import now

AT = datetime(2026, 1, 1, tzinfo=UTC)
FINE = [
    CheckedTurn("user", "Hello, where is my order? 😀", AT),
    CheckedTurn("user", "It is <ORDER_ID_1>", AT + timedelta(minutes=1)),
    CheckedTurn("assistant", "Schön, es ist unterwegs – “bald” da.\n£5 off!", None),
    CheckedTurn("user", "👍", AT + timedelta(days=2)),
    CheckedTurn("assistant", None, AT + timedelta(days=2)),
]


@pytest.fixture(scope="module")
def validator() -> Validator:
    return Validator(["en"], SystemTime())


def test_ordinary_conversations_pass(validator: Validator) -> None:
    assert validator.failures(CheckedConversation(FINE, whole=True)) == []
    assert validator.failures(CheckedConversation([CheckedTurn("assistant", "and?", None)], whole=False)) == []
    names = [check.name for check in validator.checks]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("turns", "expected"),
    [
        ([CheckedTurn("assistant", "hi", None)], "customer: turns"),
        ([*FINE, *[CheckedTurn("assistant", f"ad {n}", None) for n in range(21)]], "role_order: turns.24.role"),
        ([*FINE, CheckedTurn("user", " \n\t", None)], "empty: turns.5.text"),
        ([*FINE, CheckedTurn("user", "a" * 16_001, None)], "oversized: turns.5.text"),
        ([CheckedTurn("user", "caf\ufffd", None)], "encoding: turns.0.text"),
        ([CheckedTurn("user", "a\x00b", None)], "encoding: turns.0.text"),
        ([CheckedTurn("user", "Ã¤rger Ã¼ber GrÃ¶ÃŸe", None)], "encoding: turns.0.text"),
        ([CheckedTurn("user", "hi", now() + timedelta(days=3))], "timestamps: turns.0.at"),
        ([CheckedTurn("user", "hi", datetime(1999, 1, 1, tzinfo=UTC))], "timestamps: turns.0.at"),
        ([*FINE, CheckedTurn("user", "hi", AT - timedelta(days=9))], "timestamps: turns.5.at"),
        (
            [CheckedTurn("user", "BUY this ", None), CheckedTurn("assistant", "no", None)] * 11,
            "repeated: turns.20.text",
        ),
        ([CheckedTurn("user", "Wo ist meine Bestellung? Sie sollte am Montag da sein.", None)], "language: turns"),
    ],
)
def test_failures(validator: Validator, turns: list[CheckedTurn], expected: str) -> None:
    found = [
        str(failure).removeprefix("validation: ") for failure in validator.failures(CheckedConversation(turns, True))
    ]
    assert found == [expected]


def test_a_shop_says_which_languages_it_serves() -> None:
    german = CheckedConversation(
        [CheckedTurn("user", "Wo ist meine Bestellung? Sie sollte am Montag da sein.", None)], True
    )
    assert Validator(["en", "de"], SystemTime()).failures(german) == []
    assert Validator([], SystemTime()).failures(german) == []
