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
from tpnumba.backends.cpu.simd.vectors import fill, mix_columns

_ONE, _TWO, _FOUR, _EIGHT = (0,), (0, 0), (0, 0, 0, 0), (0,) * 8


@jit
def transform(width, tile, operands, operations, places, numbers, buffer, start, stop, stream):
    """Evaluate the operations for samples ``start`` to ``stop``; the arguments are as those of ``contract``."""
    tile_width = len(width) * LINE // tile.itemsize
    load_shared_operands(width, tile, tile_width, operands)
    for first in range(start, stop, tile_width):
        count = min(tile_width, stop - first)
        load_operands(tile, tile_width, operands, first, count, stop - first - count, buffer)
        for s in range(operations.shape[0]):
            _operation(width, tile, tile_width, operations[s], places, numbers)
        store_operands(width, tile, tile_width, operands, first, count, buffer, stream)
    if stream:
        fence()


@part
def _operation(width, tile, tile_width, step, places, numbers):
    kind, count = step[KIND], step[COUNT]
    vector_length = LINE // tile.itemsize
    if kind == DENSE:
        for i in range(count):
            to, source = step[TO] + i * step[A], step[SOURCE] + i * step[B]
            _dense(width, tile, to, source, places, step[E], step[F], step[C], step[D], numbers, step[G], step[H] != 0)
    elif kind in (POINTWISE, REFLECT):
        for row in range(count):
            for i in range(step[B]):
                away = row * step[E] + i * step[A] * step[C]
                for v in range(0, tile_width, vector_length):
                    at = away + v
                    if kind == REFLECT and step[A] == 4:
                        reflect(_EIGHT, tile, step[SOURCE] + at, step[C], step[D])
                    elif kind == REFLECT:
                        reflect(_FOUR, tile, step[SOURCE] + at, step[C], step[D])
                    elif step[A] == 4:
                        pointwise_product(
                            _EIGHT, tile, step[TO] + at, step[SOURCE] + at, step[OTHER] + at, step[C], step[D]
                        )
                    else:
                        pointwise_product(
                            _FOUR, tile, step[TO] + at, step[SOURCE] + at, step[OTHER] + at, step[C], step[D]
                        )
    elif kind == MULTIPLY:
        for at in range(0, count * tile_width, vector_length):
            multiply_into(tile, step[TO] + at, step[SOURCE] + at, step[OTHER] + at, step[A])
    elif kind == COPY:
        for i in range(count):
            to, source = step[TO] + places[step[A] + i], step[SOURCE] + places[step[B] + i]
            for v in range(tile_width):
                tile[to + v] = tile[source + v]
    elif kind == MATRICES:
        for i in range(count):
            to, source = step[TO] + i * count * tile_width, step[SOURCE] + i * step[A]
            term, row, column = step[B], step[C], step[D]
            k = 0
            while k < count:
                at, other = to + k * tile_width, step[OTHER] + k * column
                if count - k >= 4:
                    mix_columns(
                        *(width, _FOUR, tile, at, tile_width, source, term, other, row, column, count, -1, 0, False)
                    )
                    k += 4
                else:
                    mix_columns(
                        *(width, _ONE, tile, at, tile_width, source, term, other, row, column, count, -1, 0, False)
                    )
                    k += 1
    else:
        for i in range(count):
            fill(width, tile, step[TO] + i * tile_width, 0.0)


@jit
def _dense(width, tile, to, source, places, results, sources, count, terms, numbers, first, add):
    """A matrix product in blocks of results, as many as registers hold."""
    j = 0
    while j < count:
        at, one, left = results + j, first + j, count - j
        if left >= 8 and len(width) <= 2:
            dense(width, _EIGHT, tile, to, source, places, at, sources, terms, numbers, one, count, add)
            j += 8
        elif left >= 4:
            dense(width, _FOUR, tile, to, source, places, at, sources, terms, numbers, one, count, add)
            j += 4
        elif left >= 2:
            dense(width, _TWO, tile, to, source, places, at, sources, terms, numbers, one, count, add)
            j += 2
        else:
            dense(width, _ONE, tile, to, source, places, at, sources, terms, numbers, one, count, add)
            j += 1
