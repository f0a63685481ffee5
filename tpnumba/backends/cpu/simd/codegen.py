"""What the intrinsics are written with: places, loads and stores of whole vectors, branches."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.np import arrayobj

from tpnumba.backends.cpu.layout import LINE
from tpnumba.backends.cpu.runtime.compiler import FAST_MATH

FLAGS = tuple(sorted(FAST_MATH))


def pointer(context, builder, array_type, array, index):
    """The place ``index`` of an array."""
    data = arrayobj.make_array(array_type)(context, builder, array).data
    return builder.gep(data, [index], inbounds=True)


def at_address(builder, address, dtype):
    """A pointer to numbers at an address."""
    kind = ir.FloatType() if dtype == types.float32 else ir.DoubleType()
    return builder.inttoptr(address, kind.as_pointer())


def count_of(dtype, vectors=1):
    """How many numbers ``vectors`` 64-byte vectors hold."""
    return vectors * LINE * 8 // dtype.bitwidth


def load(builder, pointer, count, align):
    """``count`` numbers as one vector."""
    vector = ir.VectorType(pointer.type.pointee, count)
    loaded = builder.load(builder.bitcast(pointer, vector.as_pointer()))
    loaded.align = align
    return loaded


def store(builder, value, pointer, align):
    """Put a vector somewhere."""
    stored = builder.store(value, builder.bitcast(pointer, value.type.as_pointer()))
    stored.align = align
    return stored


def splat(builder, scalar, count):
    """A vector of one number."""
    vector = ir.VectorType(scalar.type, count)
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), scalar, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), count), [0] * count)
    return builder.shuffle_vector(one, ir.Constant(vector, ir.Undefined), zeros)


def when(builder, condition, make, otherwise):
    """``make()`` where the condition holds; a branch, so that no memory is touched where it does not."""
    before = builder.block
    then, join = builder.append_basic_block("then"), builder.append_basic_block("join")
    builder.cbranch(condition, then, join)
    builder.position_at_end(then)
    made = make()
    after = builder.block
    builder.branch(join)
    builder.position_at_end(join)
    chosen = builder.phi(otherwise.type)
    chosen.add_incoming(otherwise, before)
    chosen.add_incoming(made, after)
    return chosen


def transposed(builder, rows, count):
    """Square blocks turned by exchanging ever smaller halves between pairs of rows."""
    mask = ir.VectorType(ir.IntType(32), count)
    half = count // 2
    while half:
        for i in range(count):
            if i & half:
                continue
            lower, upper = rows[i], rows[i + half]
            keep = [p if not p & half else count + p - half for p in range(count)]
            move = [p + half if not p & half else count + p for p in range(count)]
            rows[i] = builder.shuffle_vector(lower, upper, ir.Constant(mask, keep))
            rows[i + half] = builder.shuffle_vector(lower, upper, ir.Constant(mask, move))
        half //= 2
    return rows


def turn_block(builder, source, source_stride, to, to_stride, dtype):
    """Turn a square block, from rows at one place to rows at another."""
    count, align = count_of(dtype), dtype.bitwidth // 8

    def row(pointer, stride, i):
        return builder.gep(pointer, [builder.mul(stride, ir.Constant(stride.type, i))])

    rows = [load(builder, row(source, source_stride, i), count, align) for i in range(count)]
    for i, value in enumerate(transposed(builder, rows, count)):
        store(builder, value, row(to, to_stride, i), align)
