"""Run kernels on the threads PyTorch computes with, so that two thread pools never compete for the cores.

GNU OpenMP's pool belongs to the calling thread. Where PyTorch brings another runtime, kernels run on the calling thread
alone. Knows nothing of what kernels compute.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numba
import numpy as np
import torch
from llvmlite import binding
from numba import types

from chatbot.engine.compute import decode
from chatbot.engine.compute.kernel_cache import KernelCompiler
from chatbot.engine.compute.numeric import THREAD

KINDS = {torch.bfloat16: np.uint16(0), torch.float32: np.float32(0)}  # element types, as kernels take them in `like`


class Kernel:
    """A body `(record, like)` as machine code for one element type; call it with the address of a record."""

    def __init__(self, compiler: KernelCompiler, address: int, parallel: Callable[..., None] | None) -> None:
        self._compiler, self._parallel = compiler, parallel  # the code lives as long as its compiler
        self.address = address
        self._alone = ctypes.PYFUNCTYPE(None, ctypes.c_void_p)(address)
        self._unlocked = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(address)

    def __call__(self, record: int, threads: int) -> None:
        """Run on `threads` threads, which must be the record's own `threads`."""
        if threads > 1 and self._parallel is not None:
            self._parallel(self.address, record, threads, 0)
        else:
            self._alone(record)

    def unlocked(self, record: int) -> None:
        """Run on this thread, without the interpreter lock."""
        self._unlocked(record)


class ThreadTeam:
    """Up to `threads` threads of PyTorch's pool, or one where that cannot be shared; compiles kernels for them."""

    def __init__(self, threads: int, cache: Path | None = None) -> None:
        """Find PyTorch's pool; `cache` is the folder for compiled kernels, None: each process compiles its own."""
        gomp, torch_cpu = _library("libgomp.so"), _library("libtorch_cpu.so")
        self._compiler = KernelCompiler(cache)
        zero = 0 if gomp else self._compiler.address("zero", types.int32(), lambda: 0)
        binding.add_symbol(THREAD, _address(gomp.omp_get_thread_num) if gomp else zero)
        binding.add_symbol("GOMP_parallel", _address(gomp.GOMP_parallel) if gomp else zero)
        self.threads = min(threads, _max_threads(gomp)) if gomp else 1
        self._gomp = gomp
        self._parallel: Callable[..., None] | None = None
        if gomp is not None:
            parallel = gomp.GOMP_parallel
            parallel.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
            parallel.restype = None
            self._parallel = parallel
        self._torch = torch_cpu if torch_cpu and all(hasattr(torch_cpu, name) for name in decode.SYMBOLS) else None

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keep PyTorch's work on the calling thread.

        A second pool of threads would make GNU OpenMP count more threads than cores and let all of them sleep where
        they should spin, which doubles the time of a step.
        """
        before = torch.get_num_threads()  # this also initializes the calling thread's own setting
        if self._gomp is None:
            yield
            return
        self._gomp.omp_set_num_threads(1)
        try:
            yield
        finally:
            self._gomp.omp_set_num_threads(before)

    def kernel(self, body: Any, record: Any, dtype: torch.dtype, variant: object = None) -> Kernel:
        """Compile a body for records of the NumPy type `record` and elements of `dtype`.

        `variant` holds the arguments of the function that made the body, where one did.
        """
        like = KINDS[dtype]

        def entry(pointer: Any) -> None:
            body(numba.carray(pointer, 1)[0], like)

        signature = types.void(types.CPointer(numba.from_dtype(record)))
        name = repr((body.__module__, body.__qualname__, variant, str(dtype)))
        return Kernel(self._compiler, self._compiler.address(name, signature, entry), self._parallel)

    def decoder(self) -> Callable[[int], int] | None:
        """Return `chatbot.engine.compute.decode` compiled, which runs without the interpreter lock.

        Return None without PyTorch's C interface.
        """
        if self._torch is None:
            return None
        for name in decode.SYMBOLS:
            binding.add_symbol(name, _address(getattr(self._torch, name)))
        address = self._compiler.address("decode", types.int32(types.int64), decode.entry)
        return ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int64)(address)


def _library(name: str) -> ctypes.PyDLL | None:
    """Return the shared library of this name that the process has loaded as a part of PyTorch, if there is one."""
    if sys.platform != "linux":
        return None
    lines = Path("/proc/self/maps").read_text().splitlines()
    found = {line.split(maxsplit=5)[-1] for line in lines if name in line and "torch" in line}
    return ctypes.PyDLL(min(found)) if len(found) == 1 else None


def _max_threads(gomp: ctypes.PyDLL) -> int:
    """Return how many threads it always gives: with fewer than asked for, a part of the work would be left out."""
    gomp.omp_set_dynamic(0)
    if gomp.omp_get_max_active_levels() < 1:
        return 1
    return int(gomp.omp_get_thread_limit())


def _address(function: Any) -> int:
    return int(ctypes.cast(function, ctypes.c_void_p).value or 0)
