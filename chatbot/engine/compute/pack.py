"""Copies an adapter's tensors into the layout the kernels read, without the interpreter. Knows addresses only."""

from __future__ import annotations

import numba
import numpy as np

from chatbot.engine.compute.numeric import FAST, get, put

F = numba.float32
JOB = np.dtype(
    [("source", np.int64), ("rows", np.int64), ("columns", np.int64), ("target", np.int64), ("scale", np.float32)]
)
MOST = F(3.3e38)


NOTHING_BAD = -1


@numba.njit(nogil=True, fastmath=FAST, error_model="numpy")
def copy_all(jobs, kind, like):
    """Each job's matrix to its place, [rows, columns] as [columns, rows] times a scale.

    Returns the first job with a value that is not finite, or NOTHING_BAD. One call for all of a file, since each has
    to get the interpreter back, which others keep busy.
    """
    for n in range(len(jobs)):
        job = jobs[n]
        if not _copy_transposed(job.source, job.rows, job.columns, job.scale, job.target, kind, like):
            return n
    return NOTHING_BAD


@numba.njit(nogil=True, fastmath=FAST, error_model="numpy")
def _copy_transposed(source, rows, columns, scale, target, kind, like):
    good = 0
    if columns == 1:  # the same, for the compiler to see that it is one run of memory
        for i in range(rows):
            value = get(source, i, kind) * scale
            put(target, i, value, like)
            good += 1 if abs(value) <= MOST else 0
        return good == rows
    for j in range(columns):
        for i in range(rows):
            value = get(source, i * columns + j, kind) * scale
            put(target, j * rows + i, value, like)
            good += 1 if abs(value) <= MOST else 0  # not so of a NaN
    return good == rows * columns
