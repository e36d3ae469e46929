"""Copies an adapter's tensors into the layout the kernels read, without the interpreter. Knows addresses only."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import torch
from numpy.typing import NDArray

from chatbot.engine.compute.numeric import FAST, get, int64_at, put
from chatbot.engine.compute.threads import Team

F = numba.float32
# one matrix: [rows, columns] at `source` to [columns, rows] at `target`, times a scale; 40 bytes
JOB = np.dtype(
    [("source", np.int64), ("rows", np.int64), ("columns", np.int64), ("target", np.int64), ("scale", np.float32)],
    align=True,
)
COPIES = np.dtype([("jobs", np.int64), ("count", np.int64), ("bad", np.int64)])
SCALE = JOB.fields["scale"][1] // 4  # type: ignore[index]
SIZE = JOB.itemsize
MOST = F(3.3e38)
NOTHING_BAD = -1


class Copies:
    """Copies matrices of float32 or bfloat16 to the element type of a team's kernels."""

    def __init__(self, team: Team, dtype: torch.dtype) -> None:
        kinds: dict[type, Any] = {np.float32: np.float32(0), np.uint16: np.uint16(0)}
        self._kernels = {
            kind: team.kernel(make_copies(like), COPIES, dtype, kind.__name__) for kind, like in kinds.items()
        }

    def __call__(self, jobs: NDArray[Any], kind: type) -> int:
        """Do all `jobs`, of type JOB, whose sources are of `kind`.

        Returns the first with a value that is not finite, or NOTHING_BAD. One call for all of a file, since each has
        to get the interpreter back, which others keep busy.
        """
        record = np.zeros(1, dtype=COPIES)
        record["jobs"], record["count"] = jobs.ctypes.data, len(jobs)
        self._kernels[kind].unlocked(record.ctypes.data)
        return int(record["bad"][0])


def make_copies(kind: Any) -> Any:
    """The kernel for sources of this element type."""

    @numba.njit(fastmath=FAST, error_model="numpy")
    def copies(record, like):
        record.bad = NOTHING_BAD
        for n in range(record.count):
            job = record.jobs + n * SIZE
            rows, columns, scale = int64_at(job, 1), int64_at(job, 2), get(job, SCALE, F(0))
            if not _copy_transposed(int64_at(job, 0), rows, columns, scale, int64_at(job, 3), kind, like):
                record.bad = n
                return

    return copies


@numba.njit(fastmath=FAST, error_model="numpy")
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
