"""Every format becomes the same conversations; what is wrong is reported by line and field, never by value."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from ingest.formats.files import FileConversation, LineProblem
from ingest.formats.sources import Format, Source, pairs
from shoptalk.errors import InvalidInput

SAMPLES = [
    ("c1", "k-1", [("user", "hello, is it in stock?"), ("assistant", "Yes, it is.")]),
    ("c2", None, [("user", "a, \"quoted\"\nline"), ("assistant", "Größe 42"), ("user", "ok")]),
]  # fmt: skip


def plain(items: list[FileConversation | LineProblem]) -> list[Any]:
    return [
        str(i) if isinstance(i, LineProblem) else (i.id, i.customer, [(t.role, t.text) for t in i.turns]) for i in items
    ]


def read(path: Path | str, format: Format = "auto", **more: Any) -> list[Any]:
    return plain(list(Source(str(path), format, **more).read()))


def rows() -> list[dict[str, Any]]:
    said_by = {"user": "Buyer", "assistant": "agent"}
    return [
        {"ticket": id, "who": said_by[role], "body": text, "customer_id": who or ""}
        for id, who, turns in SAMPLES
        for role, text in turns
    ]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("zipped", [False, True])
def test_csv(tmp_path: Path, delimiter: str, zipped: bool) -> None:
    path = tmp_path / ("chats.csv.gz" if zipped else "chats.csv")
    with (gzip.open if zipped else open)(path, "wt", encoding="utf-8-sig", newline="") as out:
        writer = csv.DictWriter(out, list(rows()[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows())
    columns = {"conversation_id": "ticket", "role": "who", "text": "body"}
    assert read(path, columns=columns) == SAMPLES
    with pytest.raises(InvalidInput, match="there is no column 'conversation_id'") as refused:
        read(path)
    assert refused.value.fix == "say which it is with --columns conversation_id=NAME"
    odd = read(path, columns=columns, roles={"Buyer": "agent"})
    assert odd[0][2][0] == ("assistant", "hello, is it in stock?")


def test_csv_that_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "chats.csv"
    path.write_text("conversation_id,role,text\nc1,customer,hi\nc2,robot,zanzibar\nc1,agent,again\n,customer,x\n")
    assert read(path) == [
        ("c1", None, [("user", "hi")]),
        "line 3: turns.0.role: must be 'customer' or 'agent'; map others with roles, such as buyer=customer,rep=agent",
        "line 4: conversation_id: comes again; its rows must be together",
        "line 5: conversation_id: must be a string that is not empty",
    ]
    path.write_bytes(b"conversation_id,role,text\nc1,customer,caf\xe9\n")
    with pytest.raises(InvalidInput, match="is not UTF-8"):
        read(path)
    path.write_text("")
    with pytest.raises(InvalidInput, match="there is no column"):
        read(path)
    path = tmp_path / "chats.csv.gz"
    path.write_bytes(gzip.compress(b"conversation_id,role,text\n" + b"c1,customer,hi\n" * 9999)[:30] + b"\xff" * 99)
    with pytest.raises(InvalidInput, match="cannot be read"):
        read(path)


def openai_lines() -> list[Any]:
    roles = [[{"role": r, "content": t} for r, t in turns] for _, _, turns in SAMPLES]
    system = {"role": "system", "content": "be nice"}
    tool = [{"role": "assistant", "content": None, "tool_calls": [{}]}, {"role": "tool", "content": "{}"}]
    parts = [{"role": "user", "content": [{"type": "text", "text": roles[1][0]["content"]}]}, *roles[1][1:]]
    return [
        {"id": "c1", "user": "k-1", "messages": [system, *roles[0]]},
        {"request": {"messages": [*tool, *parts[:-2]], "metadata": {"conversation_id": "c3"}},
         "response": {"choices": [{"message": roles[1][1]}]}},
        {"conversation_id": "c2", "messages": parts},
    ]  # fmt: skip


def test_openai_logs(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in openai_lines()))
    assert read(path) == [SAMPLES[0], ("c3", None, SAMPLES[1][2][:2]), SAMPLES[1]]
    wrong = [{"messages": 1}, [], {"messages": [{"role": "system"}]}, {"messages": [{"role": "zanzibar"}]}]
    path.write_text("\n".join(json.dumps(line) for line in [*wrong, {"messages": [{"role": "user", "content": 3}]}]))
    assert read(path, "openai") == [
        "line 1: messages: must be a list",
        "line 2: is not a JSON object",
        "line 3: messages: nobody says anything",
        "line 4: messages.0.role: must be one of OpenAI's",
        "line 5: turns.0.text: must be a string",
    ]


def test_what_has_no_id_is_known_by_what_was_said(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    line = json.dumps({"messages": [{"role": "user", "content": "hi"}]})
    path.write_text(f"{line}\n{line}\n")
    one, other = read(path)
    assert one == other
    assert one[0].startswith("said-")


def test_a_cut_off_file_is_read_up_to_there(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl.gz"
    lines = [
        json.dumps({"conversation_id": str(n), "turns": [{"role": "customer", "text": f"{n} {n**9}"}]})
        for n in range(4000)
    ]
    path.write_bytes(gzip.compress("\n".join(lines).encode())[:-2000])
    items = Source(str(path)).read()
    assert [isinstance(next(items), FileConversation) for _ in range(100)] == [True] * 100
    with pytest.raises(InvalidInput, match="cannot be read"):
        list(items)


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["turns", "rows", "pairs", "parquet"])
def test_data_sets(tmp_path: Path, shape: str) -> None:
    from datasets import Dataset

    lists = [{"id": id, "dialog": [{"role": r, "content": t} for r, t in turns]} for id, _, turns in SAMPLES]
    path = tmp_path / f"set.{'parquet' if shape == 'parquet' else 'jsonl'}"
    columns = {"conversation_id": "id", "turns": "dialog"}
    expected: list[Any] = [(id, None, turns) for id, _, turns in SAMPLES]
    if shape == "rows":
        made = [{"t": id, "role": r, "text": t} for id, _, turns in SAMPLES for r, t in turns]
        path.write_text("\n".join(map(json.dumps, made)))
        columns = {"conversation_id": "t"}
    elif shape == "pairs":
        path.write_text("\n".join(json.dumps({"q": turns[0][1], "a": turns[1][1]}) for _, _, turns in SAMPLES))
        columns = {"prompt": "q", "response": "a"}
        expected = [turns[:2] for _, _, turns in SAMPLES]
    elif shape == "parquet":
        Dataset.from_list(lists).to_parquet(str(path))
    else:
        path.write_text("\n".join(map(json.dumps, lists)))
    found = read(path, "dataset", columns=columns)
    assert ([item[2] for item in found] if shape == "pairs" else found) == expected
    with pytest.raises(InvalidInput, match="there is no column 'nothing'"):
        read(path, "dataset", columns={"turns": "nothing"})
    if shape == "rows":
        return
    with pytest.raises(InvalidInput, match="which columns hold") as refused:
        read(path, "dataset", columns={"at": next(iter(columns.values()))})
    assert "name the columns: --columns turns=NAME" in refused.value.message


@pytest.mark.slow
def test_a_data_set_that_breaks_off_or_names_no_conversations(tmp_path: Path) -> None:
    path = tmp_path / "set.jsonl"
    path.write_text('{"role": "user", "text": "hi"}\n')
    with pytest.raises(InvalidInput, match="conversation_id=NAME"):
        read(path, "dataset")
    path.write_text('{"turns": [')
    with pytest.raises(InvalidInput, match="the data set cannot be read"):
        read(path, "dataset")


def test_a_data_set_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    with pytest.raises(InvalidInput, match="data set"):
        read("nobody/has-this", "dataset")
    with pytest.raises(InvalidInput, match="no such file"):
        read("nothing.jsonl")


def test_pairs() -> None:
    assert pairs("a=b, c = d ,", "columns") == {"a": "b", "c": "d"}
    assert pairs(None, "columns") == {}
    with pytest.raises(InvalidInput, match="NAME=NAME"):
        pairs("a", "columns")
