"""All layers of a decode step as one piece of machine code, which needs no interpreter lock.

Matrix products go to PyTorch's own oneDNN through its C interface for compiled models
(torch/csrc/inductor/aoti_torch); the kernels run between them, on the same threads. Knows addresses only.
"""

from __future__ import annotations

from typing import Any

import numba
from numba import types

from chatbot.engine.compute.kernels import LAYER
from chatbot.engine.compute.numeric import call, int64_at, set_int64

INT = types.int64
_linear = types.ExternalFunction(
    "aoti_torch_cpu__linear_pointwise", types.int32(INT, INT, INT, INT, INT, INT, INT, INT)
)
_data = types.ExternalFunction("aoti_torch_get_data_ptr", types.int32(INT, INT))
_delete = types.ExternalFunction("aoti_torch_delete_tensor_object", types.int32(INT))
_parallel = types.ExternalFunction("GOMP_parallel", types.void(INT, INT, types.uint32, types.uint32))
SYMBOLS = ("aoti_torch_cpu__linear_pointwise", "aoti_torch_get_data_ptr", "aoti_torch_delete_tensor_object")

# Indices into the plan, an int64 array with all that a decode step needs. WEIGHTS is the address of four pairs a layer,
# one for each matrix product: the handle of its weight, and the address of its bias's handle or 0.
RECORDS, COUNT, THREADS, X, ATTENDED, ACTIVE, WEIGHTS, NONE, EMPTY, HANDLE, DATA = range(11)
EMBED, ATTENTION, ADD_ATTENTION, ACTIVATION, ADD_FEED_FORWARD = range(11, 16)
PLAN = 16
BYTES, Y = LAYER.itemsize, int(LAYER.fields["y"][1])  # type: ignore[index]


@numba.njit
def _run(plan, kernel, record) -> None:
    threads = int64_at(plan, THREADS)
    if threads > 1:
        _parallel(int64_at(plan, kernel), record, numba.uint32(threads), numba.uint32(0))
    else:
        call(int64_at(plan, kernel), record)


@numba.njit
def _product(plan, source, pair, record, kernel) -> Any:
    """Compute one matrix product, then run the kernel that takes its result; return whether the product failed."""
    handle, data = int64_at(plan, HANDLE), int64_at(plan, DATA)
    none, empty = int64_at(plan, NONE), int64_at(plan, EMPTY)
    if _linear(int64_at(plan, source), int64_at(pair, 0), int64_at(pair, 1), none, 0, 0, empty, handle):
        return True
    y = int64_at(handle, 0)
    _data(y, data)
    set_int64(record + Y, 0, int64_at(data, 0))
    _run(plan, kernel, record)
    _delete(y)
    return False


@numba.njit
def decode(plan) -> Any:
    """Run a plan; return 0, or the number (1 to 4) of the matrix product in its layer that failed."""
    record, weights = int64_at(plan, RECORDS), int64_at(plan, WEIGHTS)
    _run(plan, EMBED, record)
    for _ in range(int64_at(plan, COUNT)):
        if _product(plan, X, weights, record, ATTENTION):
            return numba.int32(1)
        if _product(plan, ATTENDED, weights + 16, record, ADD_ATTENTION):
            return numba.int32(2)
        if _product(plan, X, weights + 32, record, ACTIVATION):
            return numba.int32(3)
        if _product(plan, ACTIVE, weights + 48, record, ADD_FEED_FORWARD):
            return numba.int32(4)
        record += BYTES
        weights += 64
    return numba.int32(0)


def entry(plan) -> Any:
    """Call `decode`; the compiler takes a plain function."""
    return decode(plan)
