"""Scrubbing a file: same shape, same order, and where things were."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from ingest.scrub.scrubber import PresidioScrubber
from ingest.scrubfile import UNSCANNED, scrub_file
from shoptalk.errors import InvalidInput

LINES: list[dict[str, Any]] = [
    {"text": "my mail is jo.doe@shop.example, order ORD-2024-00123", "extra": {"kept": [1]}},
    {
        "conversation_id": "c1",
        "turns": [
            {"role": "customer", "text": "Hi, I am Tomasz."},
            {"role": "agent", "text": "Hello Tomasz, your order ORD-2024-00123 is on its way.", "at": "2026-01-01"},
        ],
    },
    {
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "call 0\u200b77 12345 678"}]},
            {"role": "assistant"},
        ]
    },
    {"text": ""},
]


def run(scrubber: PresidioScrubber, folder: Path, lines: list[Any], name: str = "in.jsonl", **more: Any) -> list[Any]:
    source, target = folder / name, folder / f"out-{name}"
    data = "".join(json.dumps(line) + "\n" for line in lines).encode()
    source.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    result = scrub_file(scrubber, source, target, **{"spans": True, "progress": lambda _: None, **more})
    read = gzip.decompress(target.read_bytes()) if name.endswith(".gz") else target.read_bytes()
    found = [json.loads(line) for line in read.decode().splitlines()]
    assert result.lines == len(found) == len(lines)
    return found


@pytest.mark.parametrize("name", ["in.jsonl", "in.jsonl.gz"])
def test_same_shape_and_order(scrubber: PresidioScrubber, tmp_path: Path, name: str) -> None:
    single, chat, openai, empty = run(scrubber, tmp_path, LINES, name)
    assert single["text"] == "my mail is <EMAIL_ADDRESS_1>, order <ORDER_ID_1>"
    assert single["extra"] == {"kept": [1]}
    assert single["pii"] == {"EMAIL_ADDRESS": 1, "ORDER_ID": 1}
    assert [t["text"] for t in chat["turns"]] == [
        "Hi, I am <PERSON_1>.",
        "Hello <PERSON_1>, your order <ORDER_ID_1> is on its way.",
    ]
    assert chat["turns"][1]["at"] == "2026-01-01"
    assert chat["pii"] == {"ORDER_ID": 1, "PERSON": 2}
    assert "12345" not in json.dumps(openai)
    assert openai["messages"][1] == {"role": "assistant"}
    assert empty == {"text": "", "spans": [], "pii": {}}
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([name, f"out-{name}"])


def test_spans_are_places_in_the_input(scrubber: PresidioScrubber, tmp_path: Path) -> None:
    single, chat, openai, _ = run(scrubber, tmp_path, LINES)
    text = LINES[0]["text"]
    assert [text[s["start"] : s["end"]] for s in single["spans"]] == ["jo.doe@shop.example", "ORD-2024-00123"]
    assert [s["type"] for s in single["spans"]] == ["EMAIL_ADDRESS", "ORDER_ID"]
    assert [len(t["spans"]) for t in chat["turns"]] == [1, 2]
    part = openai["messages"][0]["content"][0]
    (span,) = part["spans"]
    assert LINES[2]["messages"][0]["content"][0]["text"][span["start"] : span["end"]] == "0\u200b77 12345 678"


def test_without_spans_there_are_none(scrubber: PresidioScrubber, tmp_path: Path) -> None:
    assert "spans" not in json.dumps(run(scrubber, tmp_path, LINES, spans=False))


def test_what_cannot_be_scanned_is_left_out(scrubber: PresidioScrubber, tmp_path: Path) -> None:
    long = "a word " * 6000
    (found,) = run(scrubber, tmp_path, [{"text": long}])
    assert found["text"] == ""
    assert found["spans"] == [{"start": 0, "end": len(long), "type": UNSCANNED}]
    assert "longer than" in found["problem"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("[1]", "line 2: is not a JSON object"),
        ("{", "line 2: is not JSON"),
        ('{"turns": 1}', "line 2: turns: must be a list"),
        ('{"turns": [1]}', "line 2: turns.0: is not"),
        ('{"turns": [{"text": 1}]}', "line 2: turns.0.text: must be a string"),
        ('{"say": "x"}', "line 2: has neither"),
    ],
)
def test_a_wrong_line_is_named_and_nothing_is_written(
    scrubber: PresidioScrubber, tmp_path: Path, line: str, said: str
) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text('{"text": "Hello"}\n' + line + "\n")
    target.write_text("before")
    with pytest.raises(InvalidInput, match=said):
        scrub_file(scrubber, source, target, spans=False, progress=lambda _: None)
    assert target.read_text() == "before"
    assert len(list(tmp_path.iterdir())) == 2
