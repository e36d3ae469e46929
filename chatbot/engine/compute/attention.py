"""The inner loops of attention for one decoded token, in vector instructions laid out for one head size.

Written as LLVM code, since the compiler does not find this form by itself: query heads that share a key head are
computed together, so that each key and value is read once. Knows addresses only; nothing of layers or sequences.
"""

from __future__ import annotations

from collections.abc import Callable
from math import gcd
from typing import Any

import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from chatbot.engine.compute.numeric import F32, FAST, I16, I32, I64, exp, get, put

LANES = 16
F = numba.float32
FLAGS = tuple(sorted(FAST))


def make_attend(group: int, dim: int) -> Callable[..., Any]:
    """Return `attend(q, keys, values, count, scale, scores, out, like)`: softmax(scale q k') v for `group` query heads.

    All but `count`, `scale` and `like` are addresses: `q` and `out` of float32 [group, dim], `keys` and `values` of
    elements [count, dim], `scores` of room for float32 [group, count].
    """
    lanes = gcd(dim, LANES)
    chunks = dim // lanes

    def _vectors(builder, address, start, kind) -> Any:
        """Load one head's `dim` elements."""
        return [_read(builder, address, builder.add(start, _at(c * lanes)), lanes, kind) for c in range(chunks)]

    @intrinsic
    def products(typingctx, q, keys, count, scores, like) -> Any:
        """Write scores[g, t] = q[g] . keys[t]."""

        def code(context, builder, signature, args) -> Any:
            query = [
                [_read(builder, args[0], _at(g * dim + c * lanes), lanes, F32) for c in range(chunks)]
                for g in range(group)
            ]
            kind = F32 if like == types.float32 else I16
            with cgutils.for_range(builder, args[2], intp=I64) as loop:
                start = builder.mul(loop.index, _at(dim))
                key = _vectors(builder, args[1], start, kind)
                for g in range(group):
                    total = builder.fmul(query[g][0], key[0], flags=FLAGS)
                    for c in range(1, chunks):
                        total = builder.fadd(total, builder.fmul(query[g][c], key[c], flags=FLAGS), flags=FLAGS)
                    index = builder.add(builder.mul(args[2], _at(g)), loop.index)
                    _write(builder, args[3], index, _sum(builder, total, lanes))
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, types.int64, types.int64, like), code

    @intrinsic
    def mix(typingctx, weights, values, count, out, like) -> Any:
        """Write out[g] = sum over t of weights[g, t] values[t]."""

        def code(context, builder, signature, args) -> Any:
            vector = ir.VectorType(F32, lanes)
            zero = ir.Constant(vector, [0.0] * lanes)
            sums = [[cgutils.alloca_once_value(builder, zero) for _ in range(chunks)] for _ in range(group)]
            kind = F32 if like == types.float32 else I16
            with cgutils.for_range(builder, args[2], intp=I64) as loop:
                start = builder.mul(loop.index, _at(dim))
                value = [
                    _read(builder, args[1], builder.add(start, _at(c * lanes)), lanes, kind) for c in range(chunks)
                ]
                for g in range(group):
                    index = builder.add(builder.mul(args[2], _at(g)), loop.index)
                    weight = _spread(builder, _read_one(builder, args[0], index), lanes)
                    for c in range(chunks):
                        more = builder.fmul(weight, value[c], flags=FLAGS)
                        builder.store(builder.fadd(builder.load(sums[g][c]), more, flags=FLAGS), sums[g][c])
            for g in range(group):
                for c in range(chunks):
                    _write(builder, args[3], _at(g * dim + c * lanes), builder.load(sums[g][c]))
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, types.int64, types.int64, like), code

    @numba.njit(fastmath=FAST, error_model="numpy")
    def attend(q, keys, values, count, scale, scores, out, like) -> None:
        products(q, keys, count, scores, like)
        for g in range(group):
            line, most, whole = scores + 4 * g * count, F(-3e38), F(0)
            for t in range(count):
                most = max(most, get(line, t, F(0)))
            for t in range(count):
                e = exp((get(line, t, F(0)) - most) * scale)
                put(line, t, e, F(0))
                whole += e
            whole = F(1) / whole
            for t in range(count):
                put(line, t, get(line, t, F(0)) * whole, F(0))
        mix(scores, values, count, out, like)

    return attend  # type: ignore[no-any-return]


def _at(number: int) -> Any:
    return ir.Constant(I64, number)


def _pointer(builder: Any, address: Any, index: Any, element: Any) -> Any:
    return builder.gep(builder.inttoptr(address, element.as_pointer()), [index])


def _read(builder: Any, address: Any, index: Any, lanes: int, element: Any) -> Any:
    """Load a vector of float32 from elements of either type."""
    source = builder.bitcast(_pointer(builder, address, index, element), ir.VectorType(element, lanes).as_pointer())
    loaded = builder.load(source, align=2 if element == I16 else 4)
    if element == F32:
        return loaded
    wide = builder.zext(loaded, ir.VectorType(I32, lanes))
    shifted = builder.shl(wide, ir.Constant(ir.VectorType(I32, lanes), [16] * lanes))
    return builder.bitcast(shifted, ir.VectorType(F32, lanes))


def _read_one(builder: Any, address: Any, index: Any) -> Any:
    return builder.load(_pointer(builder, address, index, F32), align=4)


def _write(builder: Any, address: Any, index: Any, value: Any) -> None:
    target = builder.bitcast(_pointer(builder, address, index, F32), value.type.as_pointer())
    builder.store(value, target, align=4)


def _spread(builder: Any, value: Any, lanes: int) -> Any:
    vector = ir.VectorType(F32, lanes)
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.Constant(I32, 0))
    return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(I32, lanes), [0] * lanes))


def _sum(builder: Any, vector: Any, lanes: int) -> Any:
    kind = ir.FunctionType(F32, [F32, vector.type])
    name = f"llvm.vector.reduce.fadd.v{lanes}f32"
    function = cgutils.get_or_insert_function(builder.module, kind, name)
    return builder.call(function, [ir.Constant(F32, 0.0), vector], fastmath=FLAGS)
