"""Loads Presidio and spaCy without large libraries that they load where these are installed, and never use here.

That saves five seconds of each start and a quarter of a gigabyte. Does not know what they are used for.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Final

UNUSED: Final = frozenset({"torch", "transformers", "stanza", "gliner", "cupy"})


class _Absent(MetaPathFinder):
    """Hides the unused libraries from one thread: others may be loading them right now."""

    def __init__(self) -> None:
        self._thread = threading.get_ident()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname in UNUSED and threading.get_ident() == self._thread:
            raise ModuleNotFoundError(f"{fullname} is not used here", name=fullname)
        return None


@contextmanager
def _without_unused() -> Iterator[None]:
    finder = _Absent()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


def load() -> None:
    """Import both; do nothing the second time. Both treat what is absent as an option not chosen."""
    with _without_unused():
        import presidio_analyzer  # noqa: F401
        import spacy  # noqa: F401


def stop_words(language: str) -> frozenset[str]:
    """Return spaCy's commonest words of a language, from that one file.

    The usual import would load the whole language, and the French tokenizer alone compiles for seconds.
    """
    import spacy

    file = Path(spacy.__file__).parent / "lang" / language / "stop_words.py"
    spec = spec_from_file_location(f"ingest.scrub.stop_words_{language}", file)
    if spec is None or spec.loader is None:
        raise ImportError(f"spaCy has no stop words for {language!r}", path=str(file))
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return frozenset(module.STOP_WORDS)
