"""The chat model: a small named-entity recognizer of spaCy's, and its file. Knows no Presidio and no sentences.

The file is MessagePack as spaCy writes it, beside a fingerprint of what it was trained on; neither holds code.
"""

from __future__ import annotations

from importlib import resources
from typing import Any, Final

FILE: Final = "chat_ner.msgpack"
STAMP: Final = "chat_ner.trained-on"
_EMBED: Final = {
    "@architectures": "spacy.HashEmbedCNN.v2",
    "width": 64, "depth": 3, "embed_size": 700, "window_size": 1, "maxout_pieces": 2, "subword_features": True,
    "pretrained_vectors": None,
}  # fmt: skip
_PARSER: Final = {
    "@architectures": "spacy.TransitionBasedParser.v2",
    "state_type": "ner", "extra_state_tokens": False, "hidden_width": 48, "maxout_pieces": 2, "use_upper": True,
    "nO": None,
    "tok2vec": _EMBED,
}  # fmt: skip


def blank(vocab: Any = True) -> Any:
    """Return an untrained pipeline without labels."""
    from spacy.lang.en import English

    nlp = English(vocab=vocab)
    nlp.add_pipe("ner", config={"model": _PARSER})
    return nlp


def trained(vocab: Any) -> Any:
    """Return the pipeline that comes with shoptalk."""
    nlp = blank(vocab)
    nlp.get_pipe("ner").from_bytes((resources.files(__package__) / FILE).read_bytes(), exclude=["vocab"])
    return nlp


def stamp() -> str:
    """Return the fingerprint of the sentences that the model that comes with shoptalk was trained on."""
    return (resources.files(__package__) / STAMP).read_text("ascii").strip()
