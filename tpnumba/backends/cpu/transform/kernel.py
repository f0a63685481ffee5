"""The kernel of products on the sphere and of matrices: a list of operations, each worked for a tile of samples."""

from __future__ import annotations

from tpnumba.backends.cpu.layout import (
    COPY,
    COUNT,
    DENSE,
    KIND,
    LINE,
    MATRICES,
    MULTIPLY,
    OTHER,
    POINTWISE,
    PRODUCTS,
    REFLECT,
    SOURCE,
    TO,
    A,
    B,
    C,
    D,
    E,
    F,
    G,
    H,
)
from tpnumba.backends.cpu.runtime.compiler import jit, part
from tpnumba.backends.cpu.simd.memory import fence
from tpnumba.backends.cpu.simd.operands import load_operands, load_shared_operands, store_operands
from tpnumba.backends.cpu.simd.small_products import dense, multiply_into, pointwise_product, reflect
from tpnumba.backends.cpu.simd.vectors import ColumnSums, fill, mix_columns

_ONE, _TWO, _FOUR, _EIGHT = (0,), (0, 0), (0, 0, 0, 0), (0,) * 8


@jit
def transform(width, tile, operands, operations, offsets, numbers, buffer, start, stop, stream):
    """Evaluate the operations for samples ``start`` to ``stop``.

    Args:
        width, tile, operands, buffer, start, stop, stream: as of ``contract``.
        operations: of the program.
        offsets: lists of columns, by their distance from where an operation starts to read or write.
        numbers: the matrices.
    """
    tile_width = len(width) * LINE // tile.itemsize
    load_shared_operands(width, tile, tile_width, operands)
    for first in range(start, stop, tile_width):
        count = load_operands(tile, tile_width, operands, first, stop, buffer)
        for i in range(operations.shape[0]):
            _operate(width, tile, tile_width, operations[i], offsets, numbers)
        store_operands(width, tile, tile_width, operands, first, count, buffer, stream)
    if stream:
        fence(tile)


@part
def _operate(width, tile, tile_width, operation, offsets, numbers):
    kind, count = operation[KIND], operation[COUNT]
    vector_length = LINE // tile.itemsize
    if kind == DENSE:
        for i in range(count):
            to, source = operation[TO] + i * operation[A], operation[SOURCE] + i * operation[B]
            _dense(width, tile, to, source, operation, offsets, numbers)
    elif kind in (POINTWISE, REFLECT):
        step, far = operation[C], operation[D]
        for ring in range(count):
            for longitude in range(operation[B]):
                begin = ring * operation[E] + longitude * operation[A] * step
                for away in range(begin, begin + tile_width, vector_length):
                    to, source, other = operation[TO] + away, operation[SOURCE] + away, operation[OTHER] + away
                    if kind == REFLECT and operation[A] == 4:
                        reflect(tile, _EIGHT, source, step, far)
                    elif kind == REFLECT:
                        reflect(tile, _FOUR, source, step, far)
                    elif operation[A] == 4:
                        pointwise_product(tile, _EIGHT, to, source, other, step, far)
                    else:
                        pointwise_product(tile, _FOUR, to, source, other, step, far)
    elif kind == MULTIPLY:
        for at in range(0, count * tile_width, vector_length):
            multiply_into(tile, operation[TO] + at, operation[SOURCE] + at, operation[OTHER] + at, operation[A])
    elif kind == PRODUCTS:
        for i in range(count):
            to, source = operation[TO] + offsets[operation[A] + i], operation[SOURCE] + offsets[operation[B] + i]
            other = operation[OTHER] + offsets[operation[C] + i]
            for at in range(0, tile_width, vector_length):
                multiply_into(tile, to + at, source + at, other + at, operation[D])
    elif kind == COPY:
        for i in range(count):
            to, source = operation[TO] + offsets[operation[A] + i], operation[SOURCE] + offsets[operation[B] + i]
            for v in range(tile_width):
                tile[to + v] = tile[source + v]
    elif kind == MATRICES:
        for i in range(count):
            to, source = operation[TO] + i * count * tile_width, operation[SOURCE] + i * operation[A]
            source_step, other_row, other_column = operation[B], operation[C], operation[D]
            sums = ColumnSums(
                to, tile_width, source, source_step, operation[OTHER], other_row, other_column, count, -1, 0
            )
            k = 0
            while k < count:
                if count - k >= 4:
                    mix_columns(width, tile, _FOUR, sums, k, False)
                    k += 4
                else:
                    mix_columns(width, tile, _ONE, sums, k, False)
                    k += 1
    else:
        for i in range(count):
            fill(width, tile, operation[TO] + i * tile_width, 0.0)


@jit
def _dense(width, tile, to, source, operation, offsets, numbers):
    """The matrix product of an operation, as many results at a time as registers hold."""
    count, terms, sources, add = operation[C], operation[D], operation[F], operation[H] != 0
    j = 0
    while j < count:
        results, first, left = operation[E] + j, operation[G] + j, count - j
        if left >= 8 and len(width) <= 2:
            dense(width, tile, _EIGHT, to, source, offsets, results, sources, terms, numbers, first, count, add)
            j += 8
        elif left >= 4:
            dense(width, tile, _FOUR, to, source, offsets, results, sources, terms, numbers, first, count, add)
            j += 4
        elif left >= 2:
            dense(width, tile, _TWO, to, source, offsets, results, sources, terms, numbers, first, count, add)
            j += 2
        else:
            dense(width, tile, _ONE, to, source, offsets, results, sources, terms, numbers, first, count, add)
            j += 1
