"""What the shop knows of a customer is found however it is written, and nothing else is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ingest.formats.files import FileConversation, LineProblem, read_conversations
from ingest.scrub.scrubber import PresidioScrubber
from shoptalk.domain import Message

RECORD = {
    "name": "Blessing Oyelaran", "email": "b.oyelaran@quux.example", "phone": ["+44 20 7946 0018"],
    "address": "7 Rose Court, Ambleside", "order": "AX-93-B", "account": "883-21", "username": "bless_o",
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("this is blessing", ["blessing"]),
        ("oyelarn here again", ["oyelarn"]),
        ("call 020 79460018 or +44(20)7946-0018", ["9460018", "0018"]),
        ("order ax-93-b please", ["ax-93-b"]),
        ("account 88321", ["88321"]),
        ("i am bless_o there", ["bless_o"]),
        ("it goes to 7 rose court in amblesid", ["rose court", "amblesid"]),
        ("mail b.oyelaran@quux.example", ["oyelaran"]),
    ],
)
def test_values_are_found(scrubber: PresidioScrubber, text: str, left: list[str]) -> None:
    done = scrubber.scrub([Message("user", text)], RECORD)
    assert [value for value in left if value in done.final[0].lower()] == []
    assert done.vault.fill(done.final[0]).lower() == text.lower()


def test_other_words_stay(scrubber: PresidioScrubber) -> None:
    text = "what a blessed day, do you sell 93 red roses and a court shoe"
    assert scrubber.scrub([Message("user", text)], RECORD).final[0] == text
    ordinary = {"name": "Will Rose Mark", "other": ["", "a", "::"]}
    text = "will the rose on this mark be there"
    assert scrubber.scrub([Message("user", text)], ordinary).final[0] == text
    assert scrubber.scrub([Message("user", "ask Rose about it")], ordinary).final[0] == "ask <PERSON_1> about it"


def test_records_are_each_conversations_own(scrubber: PresidioScrubber) -> None:
    said = [[Message("user", "about the purple lamp")]] * 2
    first, second = scrubber.scrub_many(said, [{"other": "Purple  Lamp"}, {}])
    assert first.final[0] == "about the <NUMBER_1>"  # type: ignore[union-attr]
    assert second.final[0] == "about the purple lamp"  # type: ignore[union-attr]


def test_a_files_record(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    row = {"conversation_id": "c", "turns": [{"role": "customer", "text": "hi"}]}
    rows = [{**row, "customer": RECORD}, {**row, "customer": 3}, {**row, "customer": {"name": 3}}]
    path.write_text("\n".join(map(json.dumps, rows)))
    good, *wrong = read_conversations(path)
    assert isinstance(good, FileConversation)
    assert good.record == RECORD
    assert [problem.field for problem in wrong if isinstance(problem, LineProblem)] == ["customer", "customer.name"]
