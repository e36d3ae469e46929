"""What numba lacks for the kernels: memory by address in bfloat16 or float32, and an exponential that vectorises.

A `like` argument carries the element type only: uint16 stands for bfloat16, which neither NumPy nor numba has.
"""

from __future__ import annotations

from typing import Any

import numba
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

FAST = {"reassoc", "nsz", "arcp", "contract"}  # sums in any order; infinities stay what they are
THREAD = "shoptalk_thread"  # the symbol of a function that returns which thread of the team runs it
F32, I16, I32, I64 = ir.FloatType(), ir.IntType(16), ir.IntType(32), ir.IntType(64)


def _pointer(builder: Any, address: Any, index: Any, element: Any) -> Any:
    return builder.gep(builder.inttoptr(address, element.as_pointer()), [index])


@intrinsic
def get(typingctx, address, index, like) -> Any:
    """Return the element at `address[index]` as float32."""

    def code(context, builder, signature, args) -> Any:
        if like == types.float32:
            return builder.load(_pointer(builder, args[0], args[1], F32), align=4)
        bits = builder.zext(builder.load(_pointer(builder, args[0], args[1], I16), align=2), I32)
        return builder.bitcast(builder.shl(bits, ir.Constant(I32, 16)), F32)

    return types.float32(types.int64, types.int64, like), code


@intrinsic
def put(typingctx, address, index, value, like) -> Any:
    """Store a float32 at `address[index]`, rounded to nearest, ties to even."""

    def code(context, builder, signature, args) -> Any:
        if like == types.float32:
            builder.store(args[2], _pointer(builder, args[0], args[1], F32), align=4)
        else:
            bits = builder.bitcast(args[2], I32)
            odd = builder.and_(builder.lshr(bits, ir.Constant(I32, 16)), ir.Constant(I32, 1))
            rounded = builder.add(builder.add(bits, ir.Constant(I32, 0x7FFF)), odd)
            half = builder.trunc(builder.lshr(rounded, ir.Constant(I32, 16)), I16)
            builder.store(half, _pointer(builder, args[0], args[1], I16), align=2)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.float32, like), code


@intrinsic
def int64_at(typingctx, address, index) -> Any:
    """Return the int64 at `address[index]`."""

    def code(context, builder, signature, args) -> Any:
        return builder.load(_pointer(builder, args[0], args[1], I64), align=8)

    return types.int64(types.int64, types.int64), code


@intrinsic
def set_int64(typingctx, address, index, value) -> Any:
    """Store an int64 at `address[index]`."""

    def code(context, builder, signature, args) -> Any:
        builder.store(args[2], _pointer(builder, args[0], args[1], I64), align=8)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), code


@intrinsic
def call(typingctx, function, argument) -> Any:
    """Call machine code at an address, `void (*)(int64)`."""

    def code(context, builder, signature, args) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [I64])
        builder.call(builder.inttoptr(args[0], kind.as_pointer()), [args[1]])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), code


@intrinsic
def _power_of_two(typingctx, exponent) -> Any:
    """Return 2**exponent for an int32 from -126 to 127."""

    def code(context, builder, signature, args) -> Any:
        biased = builder.add(args[0], ir.Constant(I32, 127))
        return builder.bitcast(builder.shl(biased, ir.Constant(I32, 23)), F32)

    return types.float32(types.int32), code


@numba.njit(inline="always", fastmath=FAST, error_model="numpy")
def exp(x) -> Any:
    """Return e**x in float32 within 2e-7 relative; below -87 it stays at e**-87. After Cephes' expf."""
    x = min(max(x, numba.float32(-87.0)), numba.float32(88.0))
    n = numba.int32(x * numba.float32(1.44269504) + numba.float32(1024.5)) - numba.int32(1024)
    m = numba.float32(n)
    r = x - m * numba.float32(0.693359375) + m * numba.float32(2.12194440e-4)
    p = numba.float32(1.9875691500e-4)
    p = p * r + numba.float32(1.3981999507e-3)
    p = p * r + numba.float32(8.3334519073e-3)
    p = p * r + numba.float32(4.1665795894e-2)
    p = p * r + numba.float32(1.6666665459e-1)
    p = p * r + numba.float32(5.0000001201e-1)
    return (p * r * r + r + numba.float32(1.0)) * _power_of_two(n)


_thread_number = types.ExternalFunction(THREAD, types.int32())


@numba.njit(inline="always")
def thread() -> Any:
    """Return which of the team's threads runs this, from 0."""
    return numba.int64(_thread_number())
