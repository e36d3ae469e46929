"""What the demo replays of a conversation file: whatever it is given, only what an API would take."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from shoptalk.app.parts import Parts
from shoptalk.demo.conversation import LONGEST, Turns, recorded_from
from shoptalk.demo.plan import QUICK, Plan
from shoptalk.demo.run import _recorded
from shoptalk.errors import InvalidInput
from shoptalk.settings import Settings


def replayed(*turns: tuple[str, str]) -> tuple[tuple[str, str], ...]:
    found = recorded_from([("c1", turns)], "the shop", 1, 10)  # type: ignore[list-item]
    return found[0].exchanges if found else ()


def test_messages_in_a_row_are_one_and_the_agents_greeting_is_left_out() -> None:
    assert replayed(
        ("assistant", "Welcome!"), ("user", "Hi"), ("user", "where is it?"), ("assistant", "On its way."),
        ("user", "thanks"),
    ) == (("Hi\nwhere is it?", "On its way."),)  # fmt: skip


@pytest.mark.parametrize("odd", ["", "  ", "x" * (LONGEST + 1), "half \ud800", "你" * (LONGEST // 3 + 1)])
def test_what_cannot_be_sent_ends_the_replay(odd: str) -> None:
    pairs = (("user", "Hi"), ("assistant", "Hello"))
    assert replayed(*pairs, ("user", odd), ("assistant", "Well")) == (("Hi", "Hello"),)
    assert replayed(("user", odd), ("assistant", "Well")) == ()
    assert replayed(("user", "Hi"), ("assistant", odd)) == ()


ROLES = st.sampled_from(["user", "assistant"])


@given(turns=st.lists(st.tuples(ROLES, st.text(max_size=30)), max_size=8))
def test_any_turns(turns: Turns) -> None:
    for recorded in recorded_from([("c1", turns)], "the shop", 1, 10):
        assert recorded.exchanges
        assert all(asked and answered for asked, answered in recorded.exchanges)


def test_companies_are_the_shop() -> None:
    assert replayed(("user", "Is this Amazon.com?"), ("assistant", "No, Flipkart India"))[0][0] == "Is this the shop?"


def test_a_file_with_too_few_conversations_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "few.jsonl"
    pair = [{"role": "customer", "text": "Hi"}, {"role": "agent", "text": "Hello"}]
    lines = [json.dumps({"conversation_id": str(n), "turns": pair}) for n in range(150)]
    path.write_text("\n".join([*lines, "not JSON", ""]))
    parts, console = Parts(Settings(home=tmp_path)), Console(quiet=True)
    with pytest.raises(InvalidInput, match=r"few\.jsonl has 150 conversations.*--quick needs 147") as caught:
        _recorded(console, parts, path, 600, Plan())
    assert caught.value.field == "data"
    assert len(_recorded(console, parts, path, 600, QUICK)) == 150
    with pytest.raises(InvalidInput, match="cannot be read"):
        _recorded(console, parts, tmp_path / "missing.jsonl", 600, QUICK)
