"""Compiles kernels and runs them on the threads PyTorch computes with, so that two pools never fight for the cores.

GNU OpenMP's pool belongs to the calling thread. Where PyTorch brings another runtime, kernels run on that thread alone.
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
from chatbot.engine.compute.kernel_cache import Compiler
from chatbot.engine.compute.numeric import THREAD

KINDS = {torch.bfloat16: np.uint16(0), torch.float32: np.float32(0)}  # of elements, as kernels are told them


class Kernel:
    """A body `(record, like)` as machine code for one element type; called with the address of a record."""

    def __init__(self, compiler: Compiler, address: int, parallel: Callable[..., None] | None) -> None:
        self._compiler, self._parallel = compiler, parallel  # the code lives as long as its compiler
        self.address = address
        self._alone = ctypes.PYFUNCTYPE(None, ctypes.c_void_p)(address)
        self._unlocked = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(address)

    def __call__(self, record: int, threads: int) -> None:
        """`threads` must be what the record says."""
        if threads > 1 and self._parallel is not None:
            self._parallel(self.address, record, threads, 0)
        else:
            self._alone(record)

    def unlocked(self, record: int) -> None:
        """Run on this thread, and let others have the interpreter meanwhile."""
        self._unlocked(record)


class Team:
    """As many threads as `threads`, or one where PyTorch's pool cannot be shared."""

    def __init__(self, threads: int, kept: Path | None = None) -> None:
        """`kept` is the folder for compiled kernels; None: each process compiles its own."""
        gomp, torch_cpu = _library("libgomp.so"), _library("libtorch_cpu.so")
        self._compiler = Compiler(kept)
        zero = 0 if gomp else self._compiler.address("zero", types.int32(), lambda: 0)
        binding.add_symbol(THREAD, _address(gomp.omp_get_thread_num) if gomp else zero)
        binding.add_symbol("GOMP_parallel", _address(gomp.GOMP_parallel) if gomp else zero)
        self.threads = min(threads, _most_threads(gomp)) if gomp else 1
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
        """PyTorch's work on the calling thread stays on it.

        A second pool of threads would make GNU OpenMP count more threads than cores and let all of them sleep where
        they should spin, which doubles the time of a step.
        """
        before = torch.get_num_threads()  # and so sets this thread's own up
        if self._gomp is None:
            yield
            return
        self._gomp.omp_set_num_threads(1)
        try:
            yield
        finally:
            self._gomp.omp_set_num_threads(before)

    def kernel(self, body: Any, record: Any, dtype: torch.dtype, variant: object = None) -> Kernel:
        """Compile a body for records of this NumPy type and elements of this type.

        `variant` says what a body that was made by a function was made from.
        """
        like = KINDS[dtype]

        def entry(pointer: Any) -> None:
            body(numba.carray(pointer, 1)[0], like)

        signature = types.void(types.CPointer(numba.from_dtype(record)))
        name = repr((body.__module__, body.__qualname__, variant, str(dtype)))
        return Kernel(self._compiler, self._compiler.address(name, signature, entry), self._parallel)

    def decoder(self) -> Callable[[int], int] | None:
        """`chatbot.engine.compute.decode`, which lets go of the interpreter; None without PyTorch's C interface."""
        if self._torch is None:
            return None
        for name in decode.SYMBOLS:
            binding.add_symbol(name, _address(getattr(self._torch, name)))
        address = self._compiler.address("decode", types.int32(types.int64), decode.entry)
        return ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int64)(address)


def _library(name: str) -> ctypes.PyDLL | None:
    """A shared library this process has loaded as a part of PyTorch."""
    if sys.platform != "linux":
        return None
    lines = Path("/proc/self/maps").read_text().splitlines()
    found = {line.split(maxsplit=5)[-1] for line in lines if name in line and "torch" in line}
    return ctypes.PyDLL(min(found)) if len(found) == 1 else None


def _most_threads(gomp: ctypes.PyDLL) -> int:
    """How many it surely gives: with fewer than asked for, a part of the work would be left out."""
    gomp.omp_set_dynamic(0)
    if gomp.omp_get_max_active_levels() < 1:
        return 1
    return int(gomp.omp_get_thread_limit())


def _address(function: Any) -> int:
    return int(ctypes.cast(function, ctypes.c_void_p).value or 0)
