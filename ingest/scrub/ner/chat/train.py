"""Trains the chat model again: `make chat-ner`. About five minutes on one core.

The same seed gives the same sentences; weights may differ in their last bits between processors.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, Final

from ingest.scrub.names.gazetteer import FIRST_FILES, LAST_FILES, census
from ingest.scrub.ner.chat.model import FILE, STAMP, blank
from ingest.scrub.ner.chat.templates import Marked, fingerprint, sentences
from ingest.scrub.presidio.engine import language

SEED: Final = 20260101
SENTENCES: Final = 40_000
EPOCHS: Final = 8
BATCH: Final = 64
DROPOUT: Final = 0.2


def train(count: int = SENTENCES, epochs: int = EPOCHS) -> Any:
    """Return a trained spaCy pipeline. Prints the loss of each epoch."""
    from spacy.training import Example
    from spacy.util import fix_random_seed, minibatch

    fix_random_seed(SEED)
    nlp = blank()
    words = nobodys_words()
    examples = [
        made for marked in sentences(count, SEED, words) if (made := _example(nlp, marked, Example)) is not None
    ]
    optimizer = nlp.initialize(lambda: examples[:200])
    rng = random.Random(SEED)
    for epoch in range(epochs):
        rng.shuffle(examples)
        losses: dict[str, float] = {}
        for batch in minibatch(examples, BATCH):
            nlp.update(batch, sgd=optimizer, drop=DROPOUT, losses=losses)
        print(f"epoch {epoch + 1} of {epochs}: loss {losses['ner']:.0f}")
    return nlp


def nobodys_words() -> list[str]:
    """Return English words of three to ten letters that are on no list of names, sorted."""
    index = language()[1].get_table("lemma_index")
    words = {
        word for part in ("noun", "verb", "adj") for word in index[part] if word.isalpha() and 3 <= len(word) <= 10
    }
    return sorted(words - census(FIRST_FILES) - census(LAST_FILES))


def score(nlp: Any, count: int = 2000) -> tuple[float, float]:
    """Return precision and recall of whole spans on sentences it has not seen."""
    right = found = wanted = 0
    for text, marks in sentences(count, SEED + 1, nobodys_words()):
        got = {(ent.start_char, ent.end_char, ent.label_) for ent in nlp(text).ents}
        right, found, wanted = right + len(got & set(marks)), found + len(got), wanted + len(marks)
    return right / max(1, found), right / max(1, wanted)


def _example(nlp: Any, marked: Marked, example: Any) -> Any | None:
    text, marks = marked
    doc = nlp.make_doc(text)
    if any(doc.char_span(start, end) is None for start, end, _ in marks):
        return None  # tokens do not end where the value does
    return example.from_dict(doc, {"entities": marks})


def main() -> None:
    """Train, measure, and write the model's file and its fingerprint."""
    nlp = train()
    precision, recall = score(nlp)
    print(f"precision {precision:.3f}, recall {recall:.3f} on sentences of the same make")
    folder = Path(__file__).parent
    with nlp.use_params({}):
        (folder / FILE).write_bytes(nlp.get_pipe("ner").to_bytes(exclude=["vocab"]))
    (folder / STAMP).write_text(fingerprint() + "\n")


if __name__ == "__main__":
    main()
