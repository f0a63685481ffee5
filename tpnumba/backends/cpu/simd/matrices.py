"""Products of matrices in memory by BLAS, in pieces that it leaves to the thread that calls it.

OpenBLAS wakes threads of its own for a product of more than 2^18 multiplications (see :mod:`tpnumba.nn.matmul`). Pieces
have the speed of one large product on one thread.
"""

from __future__ import annotations

from llvmlite import ir
from numba.core import cgutils

from tpnumba.backends.cpu.layout import LONGEST_SUM, MOST_MULTIPLICATIONS
from tpnumba.backends.cpu.runtime.compiler import jit
from tpnumba.backends.cpu.simd.intrinsics import Flag, Position, on_vectors


@on_vectors
def call_gemm(
    emit,
    function: Position,
    left: Position,
    left_stride: Position,
    transposed: Flag,
    right: Position,
    right_stride: Position,
    to: Position,
    to_stride: Position,
    rows: Position,
    columns: Position,
    terms: Position,
    add: Flag,
):
    """The product of two matrices, rows one after the other, to a third or added to it.

    The routine at ``function`` reads columns one after the other, so it is given the transposed product. Addresses, and
    strides in numbers; ``transposed``: the left matrix stands in memory as its transpose.
    """
    builder = emit.builder
    scalar, integer, letter = emit.first(emit.constant(0.0)).type, ir.IntType(32), ir.IntType(8)

    def put(value, kind):
        place = cgutils.alloca_once(builder, kind)
        builder.store(value, place)
        return place

    def whole(value):
        return put(builder.trunc(value, integer), integer)

    def text(character):
        return ir.Constant(letter, ord(character))

    one, nothing = (ir.Constant(scalar, value) for value in (1.0, 0.0))
    plain = put(text("N"), letter)
    turned = put(builder.select(transposed, text("T"), text("N")), letter)
    arguments = [
        *(plain, turned, whole(columns), whole(rows), whole(terms), put(one, scalar)),
        *(emit.memory(right), whole(right_stride), emit.memory(left), whole(left_stride)),
        *(put(builder.select(add, one, nothing), scalar), emit.memory(to), whole(to_stride)),
    ]
    signature = ir.FunctionType(ir.VoidType(), [argument.type for argument in arguments])
    builder.call(builder.inttoptr(function, signature.as_pointer()), arguments)


@jit
def multiply(tile, gemm, left, left_stride, right, right_stride, to, to_stride, rows, columns, terms, add):
    """``to (+)= left @ right``, of shapes ``(rows, terms)`` and ``(terms, columns)``; addresses, strides in numbers."""
    item = tile.itemsize
    wide = max(1, MOST_MULTIPLICATIONS // (rows * min(terms, LONGEST_SUM)))
    for t in range(0, terms, LONGEST_SUM):
        for j in range(0, columns, wide):
            call_gemm(
                tile,
                gemm,
                left + t * item,
                left_stride,
                False,
                right + (t * right_stride + j) * item,
                right_stride,
                to + j * item,
                to_stride,
                rows,
                min(wide, columns - j),
                min(LONGEST_SUM, terms - t),
                add or t > 0,
            )


@jit
def add_outer_product(tile, gemm, left, right, right_stride, to, rows, columns, terms):
    """``to += left.T @ right``, of shapes ``(terms, rows)`` and ``(terms, columns)``; few terms."""
    item = tile.itemsize
    high = min(rows, LONGEST_SUM)
    wide = max(1, MOST_MULTIPLICATIONS // (high * terms))
    for i in range(0, rows, high):
        for j in range(0, columns, wide):
            call_gemm(
                tile,
                gemm,
                left + i * item,
                rows,
                True,
                right + j * item,
                right_stride,
                to + (i * columns + j) * item,
                columns,
                min(high, rows - i),
                min(wide, columns - j),
                terms,
                True,
            )
