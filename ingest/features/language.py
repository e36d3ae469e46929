"""Guesses the language of a text, or none where it is not certain. Knows no turn and no store.

Uses byte n-grams: M. Lui and T. Baldwin, "langid.py: An off-the-shelf language identification tool", 2012 (py3langid).
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import Any, Final

from shoptalk.placeholders import without_placeholders

LANGUAGES: Final = (
    "ar", "bg", "cs", "da", "de", "el", "en", "es", "et", "fi", "fr", "he", "hi", "hr", "hu", "id", "it", "ja", "ko",
    "lt", "lv", "nl", "no", "pl", "pt", "ro", "ru", "sk", "sl", "sv", "th", "tr", "uk", "vi", "zh",
)  # fmt: skip
LEAST_LETTERS: Final = 15
CERTAIN: Final = 0.8
_LINK: Final = re.compile(r"https?://\S+")


class Languages:
    """Guesses one of LANGUAGES. The model loads when first asked, in a second."""

    def guess(self, text: str) -> str | None:
        """Return an ISO 639-1 code; None for short texts and doubtful ones."""
        said = without_placeholders(_LINK.sub(" ", text))
        if sum(map(str.isalpha, said)) < LEAST_LETTERS:
            return None
        language, probability = self._model.classify(said)
        return str(language) if probability >= CERTAIN else None

    @cached_property
    def _model(self) -> Any:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier

        model = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
        model.set_languages(list(LANGUAGES))
        return model
