"""Limits of how long a text may take to scrub: in processor time, and in wall-clock time.

Ordinary text takes about 30 ms of processor time a kilobyte, so nothing that people write comes near.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

BASE_S: Final = 0.5
PER_KB_S: Final = 0.1
IMPATIENT: Final = 3.0  # wall-clock time as a multiple of the processor time: somebody waits for the answer
PATIENT: Final = 60.0  # the same for background work, which gets little of a busy processor


def allowance(texts: Iterable[str]) -> float:
    """Return the seconds of processor time for these texts together."""
    return BASE_S + PER_KB_S * sum(map(_bytes, texts)) / 1000


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
