"""How commands show rows: ids are there to be copied, so they are whole wherever the output goes."""

from __future__ import annotations

import pytest

from shoptalk.cli.output import show


def test_ids_are_never_cut(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"id": f"key_{n:032x}", "name": "a key with a long name " * 3, "scopes": ["chat", "read"]} for n in (1, 2)]
    show(rows, as_json=False)
    shown = capsys.readouterr().out
    assert all(str(row["id"]) in shown for row in rows)


def test_text_of_others_does_not_act_on_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    show([{"id": "x", "name": "a\x1b[31mb [bold]c"}], as_json=False)
    assert "\\x1b[31mb [bold]c" in capsys.readouterr().out
