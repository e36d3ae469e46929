"""Permutation test of two samples of embeddings by maximum mean discrepancy. Knows numbers only.

Statistic and test: Gretton et al. 2012, "A Kernel Two-Sample Test", JMLR 13; Gaussian kernel with the median
heuristic for its width. The p-value is sequential: Besag and Clifford 1991, "Sequential Monte Carlo p-values",
Biometrika 78; it is valid, and never 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]
PART: Final = 500  # permutations computed together
LARGER: Final = 20  # permutations as large as what was observed after which the p-value is known well enough
RESOLUTION: Final = 20  # how many times more permutations are drawn at most than the limit needs


@dataclass(frozen=True, slots=True)
class TwoSampleResult:
    """A test's result: the squared discrepancy, the p-value, and how many permutations were drawn for it."""

    statistic: float
    p_value: float
    permutations: int


def mmd_test(reference: Vectors, current: Vectors, *, limit: float = 0.05, seed: int = 0) -> TwoSampleResult:
    """Test whether `current` [n, d] and `reference` [m, d] have the same distribution.

    Each vector is one independent unit. Permutations are drawn until LARGER of them are as large as what was observed,
    at most RESOLUTION / `limit`: so as many as a p-value at the limit needs, and few where it is far above. Raises
    ValueError where a sample has fewer than two.
    """
    m, n = len(reference), len(current)
    if m < 2 or n < 2:
        raise ValueError("each sample needs at least two rows")
    kernel = _gaussian(np.concatenate([reference, current]).astype(np.float64))
    np.fill_diagonal(kernel, 0.0)
    observed = _statistic(kernel, _first(m, m + n)[None])[0]
    rng = np.random.default_rng(seed)
    drawn = larger = 0
    while drawn < RESOLUTION / limit:
        masks = np.stack([rng.permutation(_first(m, m + n)) for _ in range(PART)])
        hits = np.flatnonzero(_statistic(kernel, masks) >= observed - 1e-12)
        if larger + len(hits) >= LARGER:
            drawn += int(hits[LARGER - larger - 1]) + 1
            return TwoSampleResult(float(observed), LARGER / drawn, drawn)
        drawn, larger = drawn + PART, larger + len(hits)
    return TwoSampleResult(float(observed), (1 + larger) / (1 + drawn), drawn)


def _first(m: int, total: int) -> npt.NDArray[np.float64]:
    return (np.arange(total) < m).astype(np.float64)


def _gaussian(rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    squares = (rows**2).sum(1)
    distances = np.maximum(squares[:, None] + squares[None] - 2 * rows @ rows.T, 0.0)
    above = distances[np.triu_indices(len(rows), 1)]
    width = float(np.median(above[above > 0])) if (above > 0).any() else 1.0
    return np.asarray(np.exp(-distances / width))


def _statistic(kernel: npt.NDArray[np.float64], masks: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the unbiased squared MMD for each of `masks` [b, m+n], 1 where a unit belongs to the first sample."""
    m = masks[0].sum()
    n = masks.shape[1] - m
    through = masks @ kernel
    within = (through * masks).sum(1)
    across = through.sum(1) - within
    rest = kernel.sum() - within - 2 * across
    return np.asarray(within / (m * (m - 1)) + rest / (n * (n - 1)) - 2 * across / (m * n))
