"""MinHash signatures of short texts, by which near-duplicates are found. Knows no store.

A. Z. Broder, "On the resemblance and containment of documents", 1997: the share of equal numbers in two signatures
estimates the Jaccard similarity of the texts' shingles. Bands find candidates without comparing all with all
(J. Leskovec, A. Rajaraman, J. Ullman, "Mining of Massive Datasets", section 3.4): of texts that are alike to 0.8
three quarters meet in a band, of those alike to 0.9 ninety-nine in a hundred.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from shoptalk.placeholders import without_numbers

NUMBERS: Final = 64
ROWS: Final = 8  # numbers of a band
SHINGLE: Final = 5  # characters
ALIKE: Final = 0.8
_BETWEEN: Final = re.compile(r"[\W_]+")

Signature = npt.NDArray[np.uint32]


def signatures(texts: Sequence[str]) -> list[Signature]:
    """Return one signature of shape [NUMBERS] for each text.

    Texts that differ in case, punctuation or placeholders' numbers only have the same one.
    """
    from datasketch import MinHash

    shingles = [_shingles(text) for text in texts]
    made = MinHash.bulk(shingles, num_perm=NUMBERS, seed=1)
    return [np.asarray(each.hashvalues, dtype=np.uint32) for each in made]


def bands(signature: Signature) -> list[str]:
    """Return NUMBERS / ROWS hashes of 16 hex digits; texts that are alike share at least one of them."""
    parts = signature.astype("<u4").reshape(-1, ROWS)
    return [hashlib.blake2b(bytes([i]) + part.tobytes(), digest_size=8).hexdigest() for i, part in enumerate(parts)]


def similarity(one: Signature, other: Signature) -> float:
    """Return the estimated Jaccard similarity, 0 to 1; its standard error is 0.05 at ALIKE."""
    return float(np.mean(one == other))


def _shingles(text: str) -> list[bytes]:
    said = _BETWEEN.sub(" ", without_numbers(text).casefold()).strip()
    last = max(1, len(said) - SHINGLE + 1)
    return sorted({said[i : i + SHINGLE].encode("utf-8", "surrogatepass") for i in range(last)})
