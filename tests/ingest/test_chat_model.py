"""The small model for chats: what it was trained on, what it finds, and that it can be trained again."""

from __future__ import annotations

import pytest
import spacy

from ingest.scrub.ner.chat import model, templates
from ingest.scrub.ner.chat.train import score, train

pytestmark = pytest.mark.slow

TEXTS = [
    ("hi this is zorbla kemi, where is it", "zorbla kemi", "PERSON"),
    ("the parcel went to 44 melrodi ave by mistake", "44 melrodi ave", "ADDRESS"),
    ("i sign in as kemi_zorbla", "kemi_zorbla", "USERNAME"),
]


def test_the_model_was_trained_on_these_sentences() -> None:
    assert model.stamp() == templates.fingerprint(), "run 'make chat-ner'"


def test_sentences_are_the_same_each_time() -> None:
    made = list(templates.sentences(200, 3))
    assert made == list(templates.sentences(200, 3))
    assert made != list(templates.sentences(200, 4))
    for text, marks in made:
        assert all(text[start:end].strip() == text[start:end] != "" for start, end, _ in marks)


@pytest.mark.parametrize(("text", "value", "kind"), TEXTS)
def test_finds(text: str, value: str, kind: str) -> None:
    nlp = model.trained(spacy.blank("en").vocab)
    ents = nlp(text).ents
    assert " ".join(ent.text for ent in ents) == value
    assert {ent.label_ for ent in ents} == {kind}


def test_it_keeps_what_it_learned() -> None:
    precision, recall = score(model.trained(spacy.blank("en").vocab), 300)
    assert precision > 0.93
    assert recall > 0.93


def test_training(capsys: pytest.CaptureFixture[str]) -> None:
    made = train(count=600, epochs=2)
    first, second = (float(line.split()[-1]) for line in capsys.readouterr().out.splitlines())
    assert second < first
    assert set(made.get_pipe("ner").labels) == {"ADDRESS", "PERSON", "USERNAME"}
