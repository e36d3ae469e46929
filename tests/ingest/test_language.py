"""Languages are guessed where they are certain; short texts and placeholders say nothing."""

from __future__ import annotations

import pytest

from ingest.features.language import Languages


@pytest.fixture(scope="module")
def languages() -> Languages:
    return Languages()


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Where is my order? It was to be here on Monday.", "en"),
        ("i want my money back for teh shoes plz, they r far too small", "en"),
        ("Wo ist meine Bestellung? Sie sollte am Montag hier sein.", "de"),
        ("Hola, quiero devolver unos zapatos que no me quedan bien", "es"),
        ("Où est mon colis ? Je l'attends depuis une semaine.", "fr"),
        ("मेरा ऑर्डर अभी तक क्यों नहीं आया है", "hi"),
        ("ok thanks", None),
        ("<PERSON_1> <ORDER_ID_1> <EMAIL_ADDRESS_12>", None),
        ("1234567890123456789012345", None),
        ("", None),
        ("\ud800 where is my order please", "en"),
    ],
)
def test_languages(languages: Languages, text: str, language: str | None) -> None:
    assert languages.guess(text) == language
