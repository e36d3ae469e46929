"""Permutation test of two samples of embeddings by maximum mean discrepancy. Knows numbers only.

Statistic and test: Gretton et al. 2012, "A Kernel Two-Sample Test", JMLR 13; Gaussian kernel with the median
heuristic for its width; p-value with the +1 correction of Phipson and Smyth 2010, so it is never 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]
PERMUTATIONS = 999


@dataclass(frozen=True, slots=True)
class TwoSampleResult:
    """A test's result: the squared discrepancy, and the share of permutations with one at least as large."""

    statistic: float
    p_value: float


def mmd_test(
    reference: Vectors, current: Vectors, *, permutations: int = PERMUTATIONS, seed: int = 0
) -> TwoSampleResult:
    """Test whether `current` [n, d] and `reference` [m, d] have the same distribution.

    Each vector is one independent unit. Raises ValueError where a sample has fewer than two.
    """
    m, n = len(reference), len(current)
    if m < 2 or n < 2:
        raise ValueError("each sample needs at least two rows")
    kernel = _gaussian(np.concatenate([reference, current]).astype(np.float64))
    np.fill_diagonal(kernel, 0.0)
    observed = _statistic(kernel, _first(m, m + n)[None])[0]
    rng = np.random.default_rng(seed)
    masks = np.stack([rng.permutation(_first(m, m + n)) for _ in range(permutations)])
    larger = int((_statistic(kernel, masks) >= observed - 1e-12).sum())
    return TwoSampleResult(float(observed), (1 + larger) / (1 + permutations))


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
