"""The kernel of linear maps of features, ``NETWORK_ROWS`` rows at a time.

What is missing in the last rows are zeros, so that every product has the same shape, and a row the same bits, wherever
it stands. In the tile stand the gathered rows of a group, and the products of one.
"""

from __future__ import annotations

from tpnumba.backends.cpu.layout import (
    B_MUL,
    B_PLACE,
    B_START,
    G_COLUMNS,
    G_DIM,
    G_FROM_MEMORY,
    G_INPUTS_BEGIN,
    G_INPUTS_END,
    G_MATRIX,
    G_OUTPUTS_BEGIN,
    G_OUTPUTS_END,
    G_TERMS,
    G_TO_MEMORY,
    NETWORK_ROWS,
)
from tpnumba.backends.cpu.runtime.compiler import jit
from tpnumba.backends.cpu.simd.matrices import multiply
from tpnumba.backends.cpu.simd.memory import address_of, copy_numbers, read, write


@jit
def map_rows(tile, gemm, groups, blocks, products, bias, spaced, x, x_stride, out, out_stride, size, start, stop):
    """Write the map of the rows from ``start`` to ``stop``.

    Args:
        tile: memory to work in, aligned to 64 bytes.
        gemm: the address of BLAS's product.
        groups, blocks: see :mod:`tpnumba.backends.cpu.layout`.
        products: where in the tile the products of a group stand.
        bias: added to every row; of length 0 for none.
        spaced: whether the components of a copy follow each other in memory, not the copies of a component.
        x, out: the addresses of the first rows; strides in numbers.
        size: numbers of a row of ``out``, if some are in no group and become zero; else 0.
        start, stop: the rows.
    """
    item = tile.itemsize
    for first in range(start, stop, NETWORK_ROWS):
        count = min(NETWORK_ROWS, stop - first)
        source, target = x + first * x_stride * item, out + first * out_stride * item
        for r in range(count):
            for n in range(size):
                write(tile, target + (r * out_stride + n) * item, tile.dtype.type(0))
        for g in range(groups.shape[0]):
            dim, terms, columns = groups[g, G_DIM], groups[g, G_TERMS], groups[g, G_COLUMNS]
            left, left_stride = address_of(tile, 0), terms
            if groups[g, G_FROM_MEMORY] >= 0 and count == NETWORK_ROWS:
                left, left_stride = source + groups[g, G_FROM_MEMORY] * item, x_stride
            else:
                for place in range(count * dim * terms, NETWORK_ROWS * dim * terms):
                    tile[place] = 0.0
                for b in range(groups[g, G_INPUTS_BEGIN], groups[g, G_INPUTS_END]):
                    _move(tile, blocks[b], 0, dim, terms, source, x_stride, count, spaced, True)
            to, to_stride = address_of(tile, products), columns
            direct = groups[g, G_TO_MEMORY] >= 0 and count == NETWORK_ROWS
            if direct:
                to, to_stride = target + groups[g, G_TO_MEMORY] * item, out_stride
            for d in range(dim):
                piece, into = left + d * NETWORK_ROWS * left_stride * item, to + d * NETWORK_ROWS * to_stride * item
                matrix = groups[g, G_MATRIX]
                multiply(
                    tile,
                    gemm,
                    piece,
                    left_stride,
                    matrix,
                    columns,
                    into,
                    to_stride,
                    NETWORK_ROWS,
                    columns,
                    terms,
                    False,
                )
            if not direct:
                for b in range(groups[g, G_OUTPUTS_BEGIN], groups[g, G_OUTPUTS_END]):
                    _move(tile, blocks[b], products, dim, columns, target, out_stride, count, spaced, False)
        for r in range(count):
            for n in range(bias.shape[0]):
                place = target + (r * out_stride + n) * item
                write(tile, place, read(tile, place) + bias[n])


@jit
def _move(tile, block, at, dim, wide, address, stride, count, spaced, gather):
    """Copy a block of some rows in memory to its columns in the tile, or back."""
    item, mul = tile.itemsize, block[B_MUL]
    for r in range(count):
        row = address + (r * stride + block[B_START]) * item
        for d in range(dim):
            place = at + (r * dim + d) * wide + block[B_PLACE]
            if not spaced:
                here, there = address_of(tile, place), row + d * mul * item
                if gather:
                    copy_numbers(tile, here, there, mul)
                else:
                    copy_numbers(tile, there, here, mul)
            elif gather:
                for u in range(mul):
                    tile[place + u] = read(tile, row + (u * dim + d) * item)
            else:
                for u in range(mul):
                    write(tile, row + (u * dim + d) * item, tile[place + u])
