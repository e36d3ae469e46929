"""Copy an adapter's tensors into the layout the kernels read, without the interpreter. Knows addresses only."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import torch
from numpy.typing import NDArray

from chatbot.engine.compute.numeric import FAST, get, int64_at, put
from chatbot.engine.compute.threads import ThreadTeam

F = numba.float32
# one copy: a matrix [rows, columns] at `source` to [columns, rows] at `target`, times a scale; 40 bytes
COPY = np.dtype(
    [("source", np.int64), ("rows", np.int64), ("columns", np.int64), ("target", np.int64), ("scale", np.float32)],
    align=True,
)
COPIES = np.dtype([("copies", np.int64), ("count", np.int64), ("bad", np.int64)])
SCALE = COPY.fields["scale"][1] // 4  # type: ignore[index]
SIZE = COPY.itemsize
MOST = F(3.3e38)  # finite values are no larger
NOTHING_BAD = -1


class TensorCopier:
    """Copier of float32 or bfloat16 matrices to the element type of a team's kernels."""

    def __init__(self, team: ThreadTeam, dtype: torch.dtype) -> None:
        kinds: dict[type, Any] = {np.float32: np.float32(0), np.uint16: np.uint16(0)}
        self._kernels = {
            kind: team.kernel(make_copy_kernel(like), COPIES, dtype, kind.__name__) for kind, like in kinds.items()
        }

    def __call__(self, copies: NDArray[Any], kind: type) -> int:
        """Make all `copies`, an array of COPY records whose sources are of the NumPy type `kind`.

        Return the index of the first with a value that is not finite, or NOTHING_BAD. Pass all copies of a file in one
        call: each call has to get the interpreter lock back, which other threads keep busy.
        """
        record = np.zeros(1, dtype=COPIES)
        record["copies"], record["count"] = copies.ctypes.data, len(copies)
        self._kernels[kind].unlocked(record.ctypes.data)
        return int(record["bad"][0])


def make_copy_kernel(kind: Any) -> Any:
    """Return the kernel for sources of this element type."""

    @numba.njit(fastmath=FAST, error_model="numpy")
    def copy_all(record, like) -> None:
        record.bad = NOTHING_BAD
        for n in range(record.count):
            copy = record.copies + n * SIZE
            rows, columns, scale = int64_at(copy, 1), int64_at(copy, 2), get(copy, SCALE, F(0))
            if not _copy_transposed(int64_at(copy, 0), rows, columns, scale, int64_at(copy, 3), kind, like):
                record.bad = n
                return

    return copy_all


@numba.njit(fastmath=FAST, error_model="numpy")
def _copy_transposed(source, rows, columns, scale, target, kind, like) -> Any:
    """Copy one matrix; return whether all its values are finite."""
    good = 0
    if columns == 1:  # the same loop, in a form that the compiler sees to be one run of memory
        for i in range(rows):
            value = get(source, i, kind) * scale
            put(target, i, value, like)
            good += 1 if abs(value) <= MOST else 0
        return good == rows
    for j in range(columns):
        for i in range(rows):
            value = get(source, i * columns + j, kind) * scale
            put(target, j * rows + i, value, like)
            good += 1 if abs(value) <= MOST else 0  # false for a NaN
    return good == rows * columns
