"""Copies an adapter's tensors into the layout the kernels read, without the interpreter. Knows addresses only."""

from __future__ import annotations

import numba

from chatbot.engine.compute.numeric import FAST, get, put

F = numba.float32
MOST = F(3.3e38)


@numba.njit(nogil=True, fastmath=FAST, error_model="numpy")
def copy(source, count, target, kind, like):
    """`count` elements of one kind to another; says whether all are finite."""
    good = 0
    for i in range(count):
        value = get(source, i, kind)
        put(target, i, value, like)
        good += 1 if abs(value) <= MOST else 0  # not so of a NaN
    return good == count


@numba.njit(nogil=True, fastmath=FAST, error_model="numpy")
def copy_transposed(source, rows, columns, scale, target, kind, like):
    """[rows, columns] to [columns, rows], times `scale`; says whether all are finite."""
    good = 0
    for j in range(columns):
        for i in range(rows):
            value = get(source, i * columns + j, kind) * scale
            put(target, j * rows + i, value, like)
            good += 1 if abs(value) <= MOST else 0
    return good == rows * columns
